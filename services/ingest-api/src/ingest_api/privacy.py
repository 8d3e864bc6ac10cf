"""What an app's privacy switches take out of an event. Pure: bytes to bytes.

Fields are found by their names, at any depth, because every client has its own place for them. What is
not taken out keeps its bytes, and an event with nothing to take out is handed back as it came. Doing it
twice gives the same as doing it once.
"""

import ipaddress
import json
import re
from functools import lru_cache
from typing import Literal

import msgspec

from ingest_api.judgement import MAX_EVENT_BYTES, UNDECODABLE
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

MAX_ADDRESSES = 100
"""In one event that are truncated. Any more are dropped: to read one costs far more than to send it."""

_TOKEN = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+")(\s*:)?|[{}\[\],]|[^\s{}\[\],:"]+', re.DOTALL)
_KEY = re.compile(r'"(?=([^"\\]*)"\s*:)')
_ESCAPED_KEY = re.compile(r'\\.[^"\\]*"\s*:', re.DOTALL)
"""Where a key ends that has an escape; now and then a value that looks so."""
_SIGNS = re.compile(r"[\W_]+")
_IPV6_KEPT_BITS = 48
_REMEMBERED_NAMES = 4096
_REMEMBERED_CHARACTERS = 64
"""Of a name. Longer ones are looked at each time: clients choose them, so they must not fill the memory."""

_check_form = msgspec.json.Decoder(msgspec.Raw).decode

_Verdict = Literal["keep", "drop", "truncate"]


class Scrubber:
    """One app's privacy switches, ready for use."""

    def __init__(self, privacy: Privacy) -> None:
        names = {name for spelled in privacy.deny if (name := spelled.strip(" .").casefold())}
        ends: dict[str, tuple[str, ...]] = {}
        for name in names:
            ends[_last_part(name)] = (*ends.get(_last_part(name), ()), f".{name}")
        self._denied_ends = ends
        """By the last part of a denied name, which a field's own name must have."""
        self._path_characters = 1 + max(map(len, names), default=0)
        self._by_name: dict[str, _Verdict] = {}
        if privacy.user_agent == "drop":
            self._by_name |= dict.fromkeys(USER_AGENT_NAMES, "drop")
        if privacy.ip != "keep":
            self._by_name |= dict.fromkeys(IP_NAMES, privacy.ip)
        self._remembered = lru_cache(maxsize=_REMEMBERED_NAMES)(self._could_be_meant)

    def scrub(self, raw: bytes) -> bytes:
        """`raw`, the JSON of an event, without what must not be kept."""
        text = raw.decode()
        if not self._may_concern(text):
            return raw
        cuts = _Walk(self, text).cuts()
        if not cuts:
            return raw
        parts, at = [], 0
        for start, end, instead in cuts:
            parts += [text[at:start], instead]
            at = end
        return "".join((*parts, text[at:])).encode()

    def scrub_any(self, raw: bytes) -> bytes | None:
        """The same for what may be no event; None where it has no fields by which to find anything.

        None as well where it is larger than an event may be, for it is not worth the time.
        """
        if len(raw) > MAX_EVENT_BYTES:
            return None
        try:
            _check_form(raw)
            return self.scrub(raw) if raw.lstrip()[:1] in {b"{", b"["} else None
        except (*UNDECODABLE, ValueError):
            return None

    def is_meant(self, name: str) -> bool:
        """False where no field of this name is, wherever it stands."""
        return self._remembered(name) if len(name) <= _REMEMBERED_CHARACTERS else self._could_be_meant(name)

    def verdict(self, path: str, name: str) -> _Verdict:
        """On the field called `name` in the object at `path`, a `path_within`."""
        folded = name.casefold()
        ends = self._denied_ends.get(_last_part(folded))
        if ends and f"{path}.{folded}".endswith(ends):
            return "drop"
        return self._by_name.get(_plain(name), "keep")

    def path_within(self, path: str, name: str) -> str:
        """The path below the member `name` of the object at `path`: as much of its end as can decide."""
        return f"{path}.{name.casefold()}"[-self._path_characters :]

    def _may_concern(self, text: str) -> bool:
        """False where no key of it can be meant. A look at the keys alone costs a fraction of the walk."""
        return any(map(self.is_meant, _KEY.findall(text))) or _ESCAPED_KEY.search(text) is not None

    def _could_be_meant(self, name: str) -> bool:
        return _plain(name) in self._by_name or _last_part(name.casefold()) in self._denied_ends


class _Frame:
    """An object or an array that the walk is in."""

    __slots__ = ("addresses", "dropped", "is_object", "item_at", "kept", "path")

    def __init__(self, is_object: bool, path: str, addresses: bool, item_at: int) -> None:
        self.is_object = is_object
        self.path = path
        self.addresses = addresses
        """Whether what is in it, or in an object its present member, is addresses to truncate."""
        self.item_at = item_at
        """Where to cut from if the present item is dropped: before it with the comma that goes with it."""
        self.kept = False
        self.dropped = False


class _Walk:
    """Through the tokens of a JSON text that is known to be well formed. No recursion: it may be deep."""

    def __init__(self, scrubber: Scrubber, text: str) -> None:
        self._scrubber = scrubber
        self._text = text
        self._stack: list[_Frame] = []
        self._name = ""
        """Of the present member of the innermost object."""
        self._addresses_left = MAX_ADDRESSES
        self._cuts: list[tuple[int, int, str]] = []

    def cuts(self) -> list[tuple[int, int, str]]:
        """(from, to, what to put there instead), in order and apart."""
        skipped_levels = 0
        for match in _TOKEN.finditer(self._text):
            kind = match[0][0]
            if skipped_levels:
                skipped_levels += (kind in "{[") - (kind in "}]")
            elif kind in "{[":
                skipped_levels = self._open(kind == "{", match.end())
            elif kind in ",}]":
                self._end_item(match.start(), is_last=kind != ",")
            elif match[2]:
                self._key(match[1])
            elif self._stack:
                self._scalar(match[0], match.start())
        return self._cuts

    def _open(self, is_object: bool, inside: int) -> int:
        """1 where what opens here is to be skipped whole."""
        path, addresses = "", False
        if self._stack:
            frame = self._stack[-1]
            addresses = frame.addresses
            frame.dropped |= addresses and is_object
            if frame.dropped:
                return 1
            path = self._scrubber.path_within(frame.path, self._name) if frame.is_object else frame.path
        self._stack.append(_Frame(is_object, path, addresses, inside))
        return 0

    def _end_item(self, at: int, *, is_last: bool) -> None:
        frame = self._stack[-1]
        after = at + 1
        if frame.dropped:
            # The first item goes with the comma behind it, any other with the one before it.
            self._cuts.append((frame.item_at, at if is_last or frame.kept else after, ""))
        else:
            frame.kept = True
        frame.item_at = at if frame.kept else after
        frame.dropped = False
        if is_last:
            self._stack.pop()

    def _scalar(self, token: str, at: int) -> None:
        frame = self._stack[-1]
        if frame.dropped or not frame.addresses or token in _NO_ADDRESS_TO_HIDE:
            return
        instead = self._without_hosts(token)
        if instead is None:
            frame.dropped = True
        elif instead != token:
            self._cuts.append((at, at + len(token), instead))

    def _key(self, token: str) -> None:
        frame = self._stack[-1]
        name: str = json.loads(token) if "\\" in token else token[1:-1]
        verdict: _Verdict = "keep"
        if self._scrubber.is_meant(name) and (len(self._stack) > 1 or name not in ALWAYS_KEPT):
            verdict = self._scrubber.verdict(frame.path, name)
        frame.dropped = verdict == "drop"
        frame.addresses = verdict == "truncate"
        self._name = name

    def _without_hosts(self, token: str) -> str | None:
        """A JSON value that should be addresses, truncated; None where it says something else."""
        texts = json.loads(token).split(",", self._addresses_left) if token[0] == '"' else []
        if not 0 < len(texts) <= self._addresses_left:
            return None
        # What turns out to be none counts as well: it took its time.
        self._addresses_left -= len(texts)
        addresses = [truncate_ip(text.strip()) for text in texts]
        return None if None in addresses else json.dumps(", ".join(filter(None, addresses)))


_NO_ADDRESS_TO_HIDE = frozenset({"null", "true", "false", '""'})


def _last_part(path: str) -> str:
    return path.rpartition(".")[2]


def _plain(name: str) -> str:
    return _SIGNS.sub("", name.casefold())


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
