"""What is read of a request's body, and where reading stops."""

import asyncio
import gzip
import zlib
from typing import Any

import pytest
import zstandard

from ingest_api.errors import ApiError
from ingest_api.request_body import (
    MAX_BODY_BYTES,
    ClientGoneError,
    expected_bytes,
    inflate_gzip,
    inflate_zstd,
    read_body,
)


def receiving(*parts: bytes, gone: bool = False) -> Any:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if gone:
        messages.append({"type": "http.disconnect"})
    elif messages:
        messages[-1]["more_body"] = False
    iterator = iter(messages)

    async def receive() -> Any:
        return next(iterator)

    return receive


async def test_parts_are_put_together():
    assert await read_body({}, receiving(b"[1,", b"2]"), 20) == b"[1,2]"


@pytest.mark.parametrize("begun", [True, False])
async def test_a_body_that_never_ends_is_given_up_whether_or_not_it_began(begun):
    messages = [{"type": "http.request", "body": b"[", "more_body": True}] if begun else []

    async def receive() -> Any:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    with pytest.raises(ApiError) as refusal:
        await read_body({}, receive, 0.01)
    assert (refusal.value.status, refusal.value.code) == (408, "body_too_slow")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({b"content-length": b"70"}, 70),
        ({b"content-length": b"99999999999"}, MAX_BODY_BYTES),
        ({b"content-length": b"-1"}, MAX_BODY_BYTES),
        ({}, MAX_BODY_BYTES),
    ],
)
def test_memory_is_set_aside_for_what_a_body_may_become(headers, expected):
    assert expected_bytes(headers) == expected


def packed(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


def test_a_zstd_body_is_inflated_up_to_the_limit():
    assert inflate_zstd(packed(b"[]")) == b"[]"
    assert len(inflate_zstd(packed(b"x" * MAX_BODY_BYTES))) == MAX_BODY_BYTES
    with pytest.raises(ApiError) as refusal:
        inflate_zstd(packed(b"x" * (200 * MAX_BODY_BYTES)))
    assert refusal.value.status == 413


@pytest.mark.parametrize("body", [b"", b"plain", packed(b"[1, 2]")[:-2], packed(b"[]") + b"x"])
def test_what_is_no_whole_zstd_frame_is_refused(body):
    with pytest.raises(ApiError) as refusal:
        inflate_zstd(body)
    assert refusal.value.code == "invalid_encoding"


async def test_a_gzip_body_is_inflated():
    body = gzip.compress(b"[]")
    assert await read_body({b"content-encoding": b"GZIP"}, receiving(body), 20) == b"[]"


@pytest.mark.parametrize("parts", [[b"x" * (MAX_BODY_BYTES + 1)], [b"x" * MAX_BODY_BYTES, b"x"]])
async def test_a_body_over_the_limit_is_refused(parts):
    with pytest.raises(ApiError) as refusal:
        await read_body({}, receiving(*parts), 20)
    assert refusal.value.status == 413


async def test_a_body_of_just_the_limit_is_read():
    assert len(await read_body({}, receiving(b"x" * MAX_BODY_BYTES), 20)) == MAX_BODY_BYTES
    assert len(inflate_gzip(gzip.compress(b"x" * MAX_BODY_BYTES))) == MAX_BODY_BYTES


async def test_a_declared_length_over_the_limit_is_refused_unread():
    with pytest.raises(ApiError) as refusal:
        await read_body({b"content-length": b"2000000"}, receiving(), 20)
    assert refusal.value.status == 413


async def test_a_client_that_left_is_not_answered():
    with pytest.raises(ClientGoneError):
        await read_body({}, receiving(b"[", gone=True), 20)


async def test_an_unknown_encoding_is_named():
    with pytest.raises(ApiError) as refusal:
        await read_body({b"content-encoding": b"br"}, receiving(b""), 20)
    assert (refusal.value.status, refusal.value.detail) == (415, {"content_encoding": "br"})


def test_members_of_one_gzip_body_belong_together():
    assert inflate_gzip(gzip.compress(b"[1,") + gzip.compress(b"2]")) == b"[1,2]"


@pytest.mark.parametrize(
    "body",
    [b"", b"no gzip", gzip.compress(b"x" * 1000)[:-9], zlib.compress(b"[]"), gzip.compress(b"") * 1000],
    ids=["empty", "plain", "cut off", "zlib", "a thousand members"],
)
def test_what_is_no_gzip_is_refused(body):
    with pytest.raises(ApiError) as refusal:
        inflate_gzip(body)
    assert (refusal.value.status, refusal.value.code) == (400, "invalid_encoding")


def test_a_bomb_is_cut_off_at_the_limit():
    bomb = gzip.compress(b"\0" * (200 * MAX_BODY_BYTES))
    assert len(bomb) < MAX_BODY_BYTES
    with pytest.raises(ApiError) as refusal:
        inflate_gzip(bomb)
    assert refusal.value.status == 413
