"""The body of a sending request: whole, inflated, and bounded in bytes and in time.

A bomb is cut off at the limit and never inflated whole; a body that trickles in is given up.
"""

import asyncio
import zlib
from collections.abc import Mapping
from http import HTTPStatus

import zstandard
from starlette.types import Receive

from ingest_api.errors import ApiError

MAX_BODY_BYTES = 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_GZIP_MEMBERS = 32
"""A body of thousands of empty members would cost time that grows with their square."""
_MAX_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
"""What RFC 8878 asks every decoder to support; a larger window would be memory at the sender's will."""
_PLAIN = (b"", b"identity")
_SUPPORTED = "gzip, zstd"


class ClientGoneError(Exception):
    """The client went away before its body was here; nobody waits for an answer."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, seconds: float) -> bytes:
    """The body, at most MAX_BODY_BYTES of it at either stage. ApiError 400, 408, 413 or 415."""
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    if encoding not in (*_PLAIN, b"gzip", b"x-gzip", b"zstd"):
        raise _unsupported(encoding)
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    body = await _receive_all(receive, seconds)
    if encoding == b"zstd":
        return inflate_zstd(body)
    return body if encoding in _PLAIN else inflate_gzip(body)


def expected_bytes(headers: Mapping[bytes, bytes]) -> int:
    """How many bytes of memory the body may take before it is whole."""
    declared = headers.get(b"content-length", b"")
    return min(int(declared), MAX_BODY_BYTES) if declared.isdigit() else MAX_BODY_BYTES


def inflate_unlabelled(body: bytes) -> bytes:
    """A body that is gzip by its first bytes, inflated: some clients do not say so. Else as it is."""
    return inflate_gzip(body) if body.startswith(_GZIP_MAGIC) else body


async def _receive_all(receive: Receive, seconds: float) -> bytes:
    parts = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while (message := await receive())["type"] == "http.request":
                body: bytes = message.get("body", b"")
                if len(parts) + len(body) > MAX_BODY_BYTES:
                    raise _too_large()
                if not message.get("more_body"):
                    return bytes(parts + body) if parts else body
                parts += body
    except TimeoutError:
        raise _too_slow(seconds) from None
    raise ClientGoneError


def inflate_gzip(body: bytes) -> bytes:
    """The content of gzip members, cut off at the limit."""
    inflated = bytearray()
    for _ in range(_MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            inflated += member.decompress(body, MAX_BODY_BYTES + 1 - len(inflated))
        except zlib.error as error:
            raise _invalid("gzip", str(error)) from error
        if len(inflated) > MAX_BODY_BYTES:
            raise _too_large()
        if not member.eof:
            raise _invalid("gzip", "it ends too early")
        body = member.unused_data
        if not body:
            return bytes(inflated)
    raise _invalid("gzip", f"it has more than {_MAX_GZIP_MEMBERS} members")


def inflate_zstd(body: bytes) -> bytes:
    """The content of the one Zstandard frame; no more than the limit is ever in memory."""
    zstd = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES)
    try:
        # Twice, because only the first way can stop at the limit, and only the second knows a frame's end.
        with zstd.stream_reader(body) as reader:
            if len(reader.read(MAX_BODY_BYTES + 1)) > MAX_BODY_BYTES:
                raise _too_large()
        frame = zstd.decompressobj()
        inflated: bytes = frame.decompress(body)
    except zstandard.ZstdError as error:
        raise _invalid("zstd", str(error)) from error
    if not frame.eof:
        raise _invalid("zstd", "it ends too early")
    if frame.unused_data:
        raise _invalid("zstd", "there is more after its end")
    return inflated


def _invalid(encoding: str, why: str) -> ApiError:
    message = f"Content-Encoding says {encoding}, but the body is none"
    return ApiError(HTTPStatus.BAD_REQUEST, "invalid_encoding", message, why)


def _unsupported(encoding: bytes) -> ApiError:
    return ApiError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported_encoding",
        "the body may be plain, gzip or zstd",
        {"content_encoding": encoding.decode("latin-1")[:100]},
        {"Accept-Encoding": _SUPPORTED},
    )


def _too_slow(seconds: float) -> ApiError:
    return ApiError(
        HTTPStatus.REQUEST_TIMEOUT,
        "body_too_slow",
        f"the body was not whole after {seconds:.0f} s; send the same again, or less at once",
        headers={"Connection": "close"},
    )


def _too_large() -> ApiError:
    return ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body_too_large",
        "the body is over 1 MiB after decompression; send fewer events at once",
        {"limit_bytes": MAX_BODY_BYTES},
        {"Connection": "close"},
    )
