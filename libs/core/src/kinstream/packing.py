"""Small binary values of DynamoDB's items, compressed where that is worth it."""

import threading

import zstandard

_WORTH_BYTES = 256
"""Fewer are kept as they are."""


class _Zstandard(threading.local):
    """Costly to make, kept for good, and not to be shared between threads."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=1).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstandard = _Zstandard()


def packed(plain: bytes) -> bytes:
    """Bytes as they are stored. They must be an array as msgpack writes it, which no compressed frame begins
    like: a frame begins with 0x28, a small number to msgpack."""
    return plain if len(plain) < _WORTH_BYTES else _zstandard.compress(plain)


def unpacked(stored: bytes) -> bytes:
    """The bytes that `packed` stored."""
    return _zstandard.decompress(stored) if stored.startswith(zstandard.FRAME_HEADER) else stored
