"""What an app's privacy switches take out of an event. Pure: bytes to bytes.

Fields are found by their names, at any depth, because every client has its own place for them. What is
not taken out keeps its bytes, and an event with nothing to take out is handed back as it came. Doing it
twice gives the same as doing it once.
"""

import ipaddress
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import msgspec

from ingest_api.judgement import UNDECODABLE
from kinstream.app_rules import Privacy

IP_NAMES = frozenset(
    {
        *("ip", "ips", "ipv4", "ipv6", "ipaddr", "ipaddress", "clientip", "clientipaddress", "userip"),
        *("useripaddress", "remoteip", "remoteaddr", "remoteaddress", "sourceip", "xforwardedfor"),
    }
)
USER_AGENT_NAMES = frozenset(
    {"ua", "useragent", "rawuseragent", "useragentdata", "useragentstring", "httpuseragent"}
)
"""Names are compared in lower case and without signs: `$ip`, `ipAddress` and `user_agent` are among them."""

ALWAYS_KEPT = frozenset({"id", "type", "customer_id", "occurred_at"})
"""Fields of the event itself, without which it is none."""

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_KEY = re.compile(r'"(?=([^"\\]*)"\s*:)')
_SIGNS = re.compile(r"[\W_]+")
_IPV6_KEPT_BITS = 48
_REMEMBERED_NAMES = 4096

_check_form = msgspec.json.Decoder(msgspec.Raw).decode

_Verdict = Literal["keep", "drop", "truncate"]


class Scrubber:
    """One app's privacy switches, ready for use."""

    def __init__(self, privacy: Privacy) -> None:
        names = [name for spelled in privacy.deny if (name := spelled.strip(" .").casefold())]
        self._denied = frozenset(names)
        self._denied_ends = tuple(f".{name}" for name in names)
        self._last_parts = tuple({name.rpartition(".")[2] for name in names})
        self._by_name: dict[str, _Verdict] = {}
        if privacy.user_agent == "drop":
            self._by_name |= dict.fromkeys(USER_AGENT_NAMES, "drop")
        if privacy.ip != "keep":
            self._by_name |= dict.fromkeys(IP_NAMES, privacy.ip)
        self._is_meant = lru_cache(maxsize=_REMEMBERED_NAMES)(self._could_be_meant)

    def scrub(self, raw: bytes) -> bytes:
        """`raw`, the JSON of an event, without what must not be kept."""
        text = raw.decode()
        if not self._may_concern(text):
            return raw
        cuts = list(_Walk(self, text).cuts())
        if not cuts:
            return raw
        parts, at = [], 0
        for start, end, instead in cuts:
            parts += [text[at:start], instead]
            at = end
        return "".join((*parts, text[at:])).encode()

    def scrub_any(self, raw: bytes) -> bytes | None:
        """The same for what may be no event; None where it has no fields by which to find anything."""
        try:
            _check_form(raw)
            return self.scrub(raw) if raw.lstrip()[:1] in {b"{", b"["} else None
        except (*UNDECODABLE, ValueError):
            return None

    def verdict(self, path: str, name: str) -> _Verdict:
        """On the field at `path`, in lower case, whose last part is `name`."""
        if path in self._denied or path.endswith(self._denied_ends):
            return "drop"
        return self._by_name.get(_plain(name), "keep")

    def _may_concern(self, text: str) -> bool:
        """False where no key of it can be meant. A look at the keys alone costs a fraction of the walk."""
        if not text.isascii() or "\\" in text:
            return True
        return any(map(self._is_meant, _KEY.findall(text)))

    def _could_be_meant(self, name: str) -> bool:
        return _plain(name) in self._by_name or name.casefold().endswith(self._last_parts)


class _Frame:
    """An object or an array that the walk is in."""

    __slots__ = ("addresses", "dropped", "is_object", "item_at", "kept", "name", "path")

    def __init__(self, is_object: bool, path: str, addresses: bool, item_at: int) -> None:
        self.is_object = is_object
        self.path = path
        self.addresses = addresses
        """Whether what is in it are addresses to truncate."""
        self.item_at = item_at
        """Where to cut from if the present item is dropped: before it with the comma that goes with it."""
        self.kept = False
        self.name: str | None = None
        self.dropped = False


class _Walk:
    """Through the tokens of a JSON text that is known to be well formed. No recursion: it may be deep."""

    def __init__(self, scrubber: Scrubber, text: str) -> None:
        self._verdict = scrubber.verdict
        self._text = text
        self._stack: list[_Frame] = []
        self._member_path = ""
        self._truncating = False

    def cuts(self) -> Iterator[tuple[int, int, str]]:
        """(from, to, what to put there instead), in order and apart."""
        skipped_levels = 0
        for match in _TOKEN.finditer(self._text):
            token, at = match[0], match.start()
            kind = token[0]
            if skipped_levels:
                skipped_levels += (kind in "{[") - (kind in "}]")
            elif kind in "{[":
                skipped_levels = self._open(kind == "{", match.end())
            elif kind in ",}]":
                yield from self._end_item(at, is_last=kind != ",")
            elif kind != ":":
                yield from self._scalar(token, at)

    def _open(self, is_object: bool, inside: int) -> int:
        """1 where what opens here is to be skipped whole."""
        path, addresses = "", False
        if self._stack:
            frame = self._stack[-1]
            path = self._member_path if frame.is_object else frame.path
            addresses = self._truncating if frame.is_object else frame.addresses
            frame.dropped |= addresses and is_object
            if frame.dropped:
                return 1
        self._stack.append(_Frame(is_object, path, addresses, inside))
        return 0

    def _end_item(self, at: int, *, is_last: bool) -> Iterator[tuple[int, int, str]]:
        frame = self._stack[-1]
        after = at + 1
        if frame.dropped:
            # The first item goes with the comma behind it, any other with the one before it.
            end = at if is_last or frame.kept else after
            yield frame.item_at, end, ""
        else:
            frame.kept = True
        frame.item_at = at if frame.kept else after
        frame.name, frame.dropped = None, False
        if is_last:
            self._stack.pop()

    def _scalar(self, token: str, at: int) -> Iterator[tuple[int, int, str]]:
        if not self._stack:
            return
        frame = self._stack[-1]
        if frame.is_object and frame.name is None:
            self._key(frame, token)
        elif not frame.dropped and (self._truncating if frame.is_object else frame.addresses):
            instead = _without_host(token)
            if instead is None:
                frame.dropped = True
            elif instead != token:
                yield at, at + len(token), instead

    def _key(self, frame: _Frame, token: str) -> None:
        name: str = json.loads(token)
        folded = name.casefold()
        frame.name = name
        self._member_path = f"{frame.path}.{folded}" if frame.path else folded
        verdict: _Verdict = "keep"
        if len(self._stack) > 1 or name not in ALWAYS_KEPT:
            verdict = self._verdict(self._member_path, name)
        frame.dropped = verdict == "drop"
        self._truncating = verdict == "truncate"


def _plain(name: str) -> str:
    return _SIGNS.sub("", name.casefold())


def _without_host(token: str) -> str | None:
    """A JSON value that should be an address, truncated; None where it says something else: it is dropped."""
    if token in {"null", "true", "false", '""'}:
        return token
    if token[0] != '"':
        return None
    addresses = [truncate_ip(part.strip()) for part in json.loads(token).split(",")]
    return None if None in addresses else json.dumps(", ".join(filter(None, addresses)))


def truncate_ip(text: str) -> str | None:
    """An address without what tells its host; None where the text is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(ipaddress.IPv4Address(int(address) & ~0xFF))
    if address.ipv4_mapped:
        return f"::ffff:{truncate_ip(str(address.ipv4_mapped))}"
    shift = 128 - _IPV6_KEPT_BITS
    return str(ipaddress.IPv6Address(int(address) >> shift << shift))
