"""What is read of a request's body, and where reading stops."""

import gzip
import zlib
from typing import Any

import pytest

from ingest_api.errors import ApiError
from ingest_api.request_body import MAX_BODY_BYTES, ClientGoneError, inflate_gzip, read_body


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
