"""Taking a body apart into its fields or its elements, each one as its own bytes. Pure.

One bad string, or one event nested too deep, fails none of the others: what no decoder takes whole is
scanned step by step. All of it is bounded, because a key within a body is only known afterwards.
"""

import json
import re
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec

from ingest_api.bodies import MAX_EVENTS, check_count, end_of_nested
from ingest_api.errors import ApiError
from ingest_api.judgement import MAX_EVENT_BYTES, UNDECODABLE

MAX_FIELDS = 2_000
"""Of an object that has to be scanned."""

_MAX_DEEP_CHARACTERS = 2 * MAX_EVENT_BYTES
"""Of a body, in what is nested too deep for decoders and read bracket by bracket."""

_ABSENT = msgspec.Raw(b"")
# One more than there may be, so that a decoder stops there, and counts before anything is made of them.
_ELEMENTS: type[msgspec.Struct] = msgspec.defstruct(
    "_Elements",
    [(f"element_{number}", msgspec.Raw, _ABSENT) for number in range(MAX_EVENTS + 1)],
    array_like=True,
    forbid_unknown_fields=True,
)
_decode_elements = msgspec.json.Decoder(_ELEMENTS).decode
# Takes what msgspec refuses to step over, such as half of a surrogate pair within one event. Numbers are
# only stepped over, for which bool is the cheapest.
_lenient = json.JSONDecoder(parse_int=bool, parse_float=bool, strict=False)
_SPACE = re.compile(r"[ \t\n\r]*")


def fields_of(body: bytes, *names: str) -> dict[str, bytes]:
    """Those of the named fields that a JSON object has; ApiError 400 where it is none."""
    try:
        found = msgspec.structs.astuple(_fields_decoder(names)(body))
    except UNDECODABLE:
        return {name: raw for name, raw in _Scan(body).whole("{") if name in names}
    return {name: bytes(raw) for name, raw in zip(names, found, strict=True) if raw is not _ABSENT}


def elements_of(raw: bytes) -> list[bytes]:
    """The elements of a JSON array; ApiError 400 where it is none, 413 where they are too many events."""
    try:
        found = msgspec.structs.astuple(_decode_elements(raw))
    except UNDECODABLE:
        return [element for _, element in _Scan(raw).whole("[")]
    elements = [bytes(element) for element in found if element is not _ABSENT]
    check_count(len(elements))
    return elements


def text_of(raw: bytes | None) -> str | None:
    """A field's value where it is a string with something in it, else None."""
    try:
        value = msgspec.json.decode(raw or b"null")
    except UNDECODABLE:
        return None
    return value if isinstance(value, str) and value else None


def text_in(raw: bytes, name: str) -> str | None:
    """A field of an object where it is a string with something in it, however broken the others are."""
    try:
        [value] = msgspec.structs.astuple(_fields_decoder((name,))(raw))
        return text_of(value)
    except UNDECODABLE:
        pass
    try:
        found = _lenient.decode(raw.decode(errors="surrogateescape"))
        text = found.get(name) if isinstance(found, dict) else None
        return text if isinstance(text, str) and text.encode() else None
    except (ValueError, RecursionError):
        return None


def no_json(why: str) -> ApiError:
    """400 for a body that cannot be taken apart."""
    return ApiError(
        HTTPStatus.BAD_REQUEST, "invalid_json", "the body is not the JSON that is read here", why[:300]
    )


@lru_cache(maxsize=64)
def _fields_decoder(names: tuple[str, ...]) -> Any:
    """Decodes only these: whatever else an object has is stepped over, without a list of it."""
    fields = [(f"field_{number}", msgspec.Raw, _ABSENT) for number in range(len(names))]
    renamed = {f"field_{number}": name for number, name in enumerate(names)}
    return msgspec.json.Decoder(msgspec.defstruct("_Fields", fields, rename=renamed)).decode


class _Scan:
    """Finds where each field or element of a body begins and ends."""

    def __init__(self, body: bytes) -> None:
        # Bytes that are no UTF-8 pass through as they are, and fail the one event they are in.
        self._text = body.decode(errors="surrogateescape")
        self._deep_characters = 0

    def whole(self, opening: str) -> list[tuple[str, bytes]]:
        """(name, bytes of the value) of each field, or of each element with an empty name."""
        at = self._skip(0)
        if self._text[at : at + 1] != opening:
            raise no_json(f"expected {opening} at character {at}")
        try:
            found, end = self._members(at)
        except (ValueError, RecursionError) as error:
            raise no_json(str(error)) from error
        if self._skip(end) != len(self._text):
            raise no_json("there is more after the end")
        return [
            (name, self._text[start:stop].encode(errors="surrogateescape")) for name, start, stop in found
        ]

    def _members(self, start: int) -> tuple[list[tuple[str, int, int]], int]:
        """((name, where its value begins, where it ends) of each, where all of them end)."""
        is_object = self._text[start] == "{"
        closing = "}" if is_object else "]"
        found: list[tuple[str, int, int]] = []
        at = self._skip(start + 1)
        while found or self._text[at : at + 1] != closing:
            name = ""
            if is_object:
                name, at = _lenient.raw_decode(self._text, self._expect(at, '"') - 1)
                at = self._skip(self._expect(self._skip(at), ":"))
            end = self._end_of(at, may_walk=is_object)
            found.append((name, at, end))
            _check_count(len(found), is_object=is_object)
            at = self._skip(end)
            if self._text[at : at + 1] == closing:
                break
            at = self._skip(self._expect(at, ","))
        return found, at + 1

    def _end_of(self, at: int, *, may_walk: bool) -> int:
        try:
            return _lenient.raw_decode(self._text, at)[1]
        except RecursionError:
            pass
        if may_walk and self._text[at] == "[":
            # A batch in which an event or two are nested too deep.
            return self._members(at)[1]
        try:
            end = end_of_nested(self._text, at)
        except ApiError as error:
            raise no_json(str(error.detail)) from error
        self._deep_characters += end - at
        if self._deep_characters > _MAX_DEEP_CHARACTERS:
            raise no_json("too much of it is nested too deep")
        return end

    def _expect(self, at: int, character: str) -> int:
        if self._text[at : at + 1] != character:
            raise ValueError(f"expected {character} at character {at}")
        return at + 1

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at


def _check_count(count: int, *, is_object: bool) -> None:
    """While it is scanned: what lies beyond the limit is work for nothing."""
    if not is_object:
        check_count(count)
    elif count > MAX_FIELDS:
        raise no_json(f"an object in it has over {MAX_FIELDS:,} fields")
