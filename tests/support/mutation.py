"""What real clients send, and what becomes of it on a bad day: thousands of mutants, the same for a seed.

The bodies were captured from the clients' own requests; only who, what time and which key are filled in.
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import zstandard

from kinstream.events import format_time_ms

_KEY, _TIME, _MS, _ID = "<key>", "<time>", "<ms>", "<id>"
_LIBRARY = {"library": {"name": "analytics-python", "version": "2.4.0"}}
_WHO = {"timestamp": _TIME, "context": _LIBRARY, "userId": "fam-42", "messageId": _ID}
_SEGMENT: list[dict[str, Any]] = [
    {
        **_WHO,
        "integrations": {},
        "anonymousId": "ipad-1",
        "properties": {"content_id": "story-7", "person_id": "kid-1", "seconds": 12.5},
        "type": "track",
        "event": "Content Viewed",
    },
    {**_WHO, "anonymousId": "ipad-1", "type": "identify", "traits": {"plan": "family"}},
    {**_WHO, "type": "page", "category": None, "name": "Stories", "properties": {"path": "/stories"}},
    {**_WHO, "type": "screen", "category": None, "name": "Stories", "properties": {"tab": "new"}},
    {**_WHO, "type": "group", "groupId": "school-3", "traits": {"name": "Hill School"}},
    {**_WHO, "type": "alias", "previousId": "anon-1", "anonymousId": None},
]
_RUDDER_IDENTIFY = {
    **_WHO,
    "integrations": {"All": True},
    "context": {"traits": {"plan": "family"}, **_LIBRARY},
    "type": "identify",
    "channel": "server",
}

_UE_PX = (
    "eyJzY2hlbWEiOiAiaWdsdTpjb20uc25vd3Bsb3dhbmFseXRpY3Muc25vd3Bsb3cvdW5zdHJ1Y3RfZXZlbnQvanNvbnNjaGVtYS8xLTAt"
    "MCIsICJkYXRhIjogeyJzY2hlbWEiOiAiaWdsdTpvcmcuZXhhbXBsZS9jb250ZW50X3ZpZXdlZC9qc29uc2NoZW1hLzEtMC0wIiwgImRh"
    "dGEiOiB7ImNvbnRlbnRfaWQiOiAic3RvcnktNyIsICJwZXJzb25faWQiOiAia2lkLTEifX19"
)
_CX = (
    "eyJzY2hlbWEiOiAiaWdsdTpjb20uc25vd3Bsb3dhbmFseXRpY3Muc25vd3Bsb3cvY29udGV4dHMvanNvbnNjaGVtYS8xLTAtMSIsICJk"
    "YXRhIjogW3sic2NoZW1hIjogImlnbHU6b3JnLmV4YW1wbGUvdGFiL2pzb25zY2hlbWEvMS0wLTAiLCAiZGF0YSI6IHsibmFtZSI6ICJm"
    "w7xyIGRpY2gifX1dfQ=="
)
_TRACKER = {"p": "mob", "uid": "fam-42", "duid": "ipad-1", "eid": _ID, "dtm": _MS, "tv": "py-1.1.0"}
_TRACKER |= {"tna": "family", "aid": _KEY, "stm": _MS}
_SNOWPLOW: list[dict[str, Any]] = [
    {"e": "pp", "url": "https://example.org/stories", "pp_mix": "0", "pp_max": "20", "ttm": _MS, **_TRACKER},
    {"e": "se", "se_ca": "Cart", "se_ac": "add", "se_la": "book", "se_va": "3.5", "ttm": _MS, **_TRACKER},
    {"e": "ue", "ue_px": _UE_PX, "cx": _CX, "ttm": _MS, **_TRACKER},
    {"e": "pv", "url": "https://example.org/stories", "page": "Stories", **_TRACKER},
    {"e": "ti", "ti_id": "o-1", "ti_sk": "book", "ti_pr": "10.5", "ti_qu": "1", "ttm": _MS, **_TRACKER},
]

_LIB = {"$lib": "posthog-python", "$lib_version": "7.91.1", "$geoip_disable": True, "$is_server": True}
_CAPTURED = {"timestamp": _TIME, "distinct_id": "fam-42", "uuid": _ID}
_POSTHOG: list[dict[str, Any]] = [
    {
        **_CAPTURED,
        "event": "Content Viewed",
        "properties": {"content_id": "story-7", "person_id": "kid-1", "$device_id": "ipad-1", **_LIB},
    },
    {**_CAPTURED, "event": "$pageview", "properties": {"$current_url": "https://example.org/", **_LIB}},
    {**_CAPTURED, "event": "$set", "$set": {"plan": "family"}, "properties": _LIB},
    {
        **_CAPTURED,
        "event": "$groupidentify",
        "properties": {"$group_type": "school", "$group_key": "3", "$group_set": {"size": 7}, **_LIB},
    },
    {
        **_CAPTURED,
        "event": "$create_alias",
        "properties": {"distinct_id": "fam-42", "alias": "anon-1", **_LIB},
    },
]

_CLOUD: dict[str, Any] = {
    "id": _ID,
    "source": "/apps/ipad",
    "type": "content.viewed",
    "time": _TIME,
    "customerid": "fam-42 f\u00fcr \u20ac",
    "deviceid": "ipad-1",
    "datacontenttype": "application/json",
    "dataschema": "urn:story",
    "specversion": "1.0",
    "data": {"content_id": "story-7", "person_id": "kid-1"},
}
_CLOUD_HEADERS = {
    f"ce-{name}": quote(str(value), safe="/:<>")
    for name, value in _CLOUD.items()
    if name not in ("data", "datacontenttype")
}

_NATIVE: dict[str, Any] = {
    "id": _ID,
    "type": "content.viewed",
    "customer_id": "fam-42",
    "device_id": "ipad-1",
    "person_id": "kid-1",
    "occurred_at": _TIME,
    "data": {"content_id": "story-7", "seconds": 12.5},
}
_PLACE = {"person_id": "kid-1", "latitude": 52.5, "longitude": 13.4, "accuracy_m": 10}
_NATIVES = [
    _NATIVE,
    {**_NATIVE, "type": "location.updated", "data": _PLACE},
    {"id": _ID, "type": "app.opened", "customer_id": "fam-42", "occurred_at": _TIME},
]


@dataclass(frozen=True)
class Request:
    """A request as it goes over the wire."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_whole: bool = True
    """Whether the body, once inflated, is `content` still."""
    content: Any = None
    """The JSON that the body says, None where it says none."""

    @property
    def wire(self) -> bytes:
        """Its bytes."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: ingest", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + self.body


def samples(key: str, now_ms: int) -> list[Request]:
    """One good request of each client and form."""
    basic = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    plain = {"Content-Type": "text/plain"}
    segment = {"batch": _SEGMENT, "sentAt": _TIME, "writeKey": _KEY}
    v0 = {"batch": _POSTHOG, "historical_migration": False, "sent_at": _TIME, "api_key": _KEY}
    payload = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
    lines = b"\n".join(json.dumps(event).encode() for event in _NATIVES)
    forms: list[tuple[str, dict[str, str], Any]] = [
        ("/v1/batch", basic, segment),
        ("/v1/batch", plain, segment),
        ("/v1/batch", basic, {"batch": [_RUDDER_IDENTIFY, *_SEGMENT], "sentAt": _TIME}),
        ("/v1/track", basic, _SEGMENT[0]),
        ("/v1/p", plain, _SEGMENT[2] | {"writeKey": _KEY}),
        ("/com.snowplowanalytics.snowplow/tp2", {}, {"schema": payload, "data": _SNOWPLOW}),
        ("/batch/", {"Content-Type": "application/json"}, v0),
        ("/e/", {}, _POSTHOG[0] | {"api_key": _KEY}),
        ("/i/v1/analytics/events", basic, {"created_at": _TIME, "batch": _POSTHOG}),
        ("/v1/cloudevents", basic | _CLOUD_HEADERS, _CLOUD["data"]),
        ("/v1/cloudevents", basic | {"Content-Type": "application/cloudevents+json"}, _CLOUD),
        ("/v1/cloudevents", basic | {"Content-Type": "application/cloudevents-batch+json"}, [_CLOUD] * 3),
        ("/v1/events", basic, _NATIVE),
        ("/v1/events", basic, _NATIVES),
        ("/v1/events", basic, {"events": _NATIVES * 10}),
        ("/v1/events", basic, lines),
    ]
    made = [_filled(path, headers, content, key=key, now_ms=now_ms) for path, headers, content in forms]
    addresses = ["/i?" + urlencode(event, safe="<>") for event in _SNOWPLOW[:3]]
    made += [_filled(address, {}, b"", key=key, now_ms=now_ms, method="GET") for address in addresses]
    return made


def _filled(
    path: str, headers: dict[str, str], content: Any, *, key: str, now_ms: int, method: str = "POST"
) -> Request:
    text = content.decode() if isinstance(content, bytes) else json.dumps(content)
    values = {_KEY: key, _TIME: format_time_ms(now_ms), _MS: str(now_ms), _ID: "018f6c1e-7a3b-7c64-9d6e"}
    for name, value in values.items():
        text, path = text.replace(name, value), path.replace(name, value)
        headers = {header: said.replace(name, value) for header, said in headers.items()}
    found = None if isinstance(content, bytes) else json.loads(text)
    return Request(method, path, tuple(headers.items()), text.encode(), True, found)


def mutant(originals: list[Request], seed: int) -> Request:
    """One of them with something done to it."""
    rng = Random(seed)
    request = rng.choice(originals)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        request = rng.choice(_MUTATIONS)(request, rng)
    return request


_MARK = '"<mutated>"'
_NESTED = 5_000
_HOSTILE = (
    *("null", "true", "false", "0", "-0", "-1", "1e999", "-1e999", "NaN", "Infinity", "1e-400", "0.1e1"),
    *("9007199254740993", "18446744073709551616", "-" + "9" * 400, "9" * 5_000, "1." + "3" * 400),
    *('""', '" "', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\x00"', '"\x7f\x1f"', '"\\x"', '"\ufffe"'),
    *('"' + "x" * 129 + '"', '"' + "\u00e4" * 40_000 + '"', '"' + "x" * 1_200_000 + '"', '"\U0001f468" '),
    *("[]", "{}", "[null]", '{"":""}', '{"a":1,"a":2}', '{"\\u0061":1,"a":[]}', "[" + "0," * 5_000 + "0]"),
    *("[" * _NESTED + "]" * _NESTED, '{"a":' * _NESTED + "1" + "}" * _NESTED, "[" * 40 + "]" * 40),
    *(
        "[" * _NESTED,
        "{" * _NESTED,
        "[" * 990 + "]" * 990,
        "",
        ",",
        "]",
        "}",
        ":",
        "/*c*/1",
        "'x'",
        "undefined",
    ),
    *('"9999-12-31T23:59:59.999Z"', '"1969-12-31T23:59:59Z"', '"2026-11-20T18:04:05+24:00"', '"0000-00-00"'),
    *(
        '"2026-11-20T18:04:05.123456789Z"',
        '"2026-11-20 18:04:05"',
        "253402300799999",
        "253402300800000",
        "-1e15",
    ),
    *('"content.viewed"', '"location.updated"', '"' + "a" * 65 + '.b"', '"kw_nobody_x"', '"\\ud83d\\ude00"'),
)


def _replaced(request: Request, rng: Random) -> Request:
    """One value anywhere in the JSON replaced by one that nobody foresaw."""
    return _with_value(request, rng, rng.choice(_HOSTILE))


def _doubled_key(request: Request, rng: Random) -> Request:
    """A field twice, with different values."""
    found = _place(request.content, rng)
    if found is None or not isinstance(found[0], dict):
        return _flipped(request, rng)
    name = json.dumps(found[1])
    return _with_value(request, rng, f"1, {name}: {rng.choice(_HOSTILE)}", found[1])


def _removed(request: Request, rng: Random) -> Request:
    """A field or element less."""
    copy = json.loads(json.dumps(request.content))
    found = _place(copy, rng)
    if found is None:
        return _cut(request, rng)
    del found[0][found[1]]
    return _rewritten(request, json.dumps(copy).encode(), copy)


def _renamed(request: Request, rng: Random) -> Request:
    """A field under a name that has no meaning, or another one."""
    copy = json.loads(json.dumps(request.content))
    found = _place(copy, rng)
    if found is None or not isinstance(found[0], dict):
        return _swapped(request, rng)
    name = rng.choice(
        ("", "\0", "\ud800", "x" * 70_000, "_client", "id", "data", "batch", "events", "__proto__")
    )
    found[0][name] = found[0].pop(found[1])
    return _rewritten(request, json.dumps(copy).encode(), copy)


def _with_value(request: Request, rng: Random, text: str, name: Any = None) -> Request:
    """`text` in place of any value, or of any that has this name."""
    copy = json.loads(json.dumps(request.content))
    place = _place(copy, rng, name)
    if place is None:
        return _broken(request, text.encode("utf-8", "surrogatepass"))
    place[0][place[1]] = json.loads(_MARK)
    written = json.dumps(copy, ensure_ascii=rng.random() < 0.5).replace(_MARK, text, 1)
    return _rewritten(request, written.encode("utf-8", "surrogatepass"), _read(written))


def _read(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=float)
    except (ValueError, RecursionError):
        return None


def _place(content: Any, rng: Random, name: Any = None) -> tuple[Any, Any] | None:
    """(holder, key) of any value within, or of any that has this name."""
    places: list[tuple[Any, Any]] = []
    waiting = [content]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            places += [(holder, key) for key in keys if name in (None, key)]
            waiting += [holder[key] for key in keys]
    return rng.choice(places) if places else None


def _rewritten(request: Request, body: bytes, content: Any) -> Request:
    is_whole = request.is_whole and content is not None and not _is_packed(request)
    return replace(request, body=body, content=content, is_whole=is_whole)


def _is_packed(request: Request) -> bool:
    named = any(name == "Content-Encoding" for name, _ in request.headers)
    return named or request.body.startswith(b"\x1f\x8b")


def _broken(request: Request, body: bytes) -> Request:
    return replace(request, body=body, content=None, is_whole=False)


def _slice(body: bytes, rng: Random) -> tuple[int, int]:
    start = rng.randrange(len(body) + 1)
    return start, min(len(body), start + rng.choice((1, 2, 7, 30, 200, 2_000)))


def _flipped(request: Request, rng: Random) -> Request:
    body = bytearray(request.body)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if body else 0):
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return _broken(request, bytes(body))


def _cut(request: Request, rng: Random) -> Request:
    return _broken(request, request.body[: rng.randrange(len(request.body) + 1)])


def _without(request: Request, rng: Random) -> Request:
    start, end = _slice(request.body, rng)
    return _broken(request, request.body[:start] + request.body[end:])


def _doubled(request: Request, rng: Random) -> Request:
    start, end = _slice(request.body, rng)
    return _broken(request, request.body[:end] + request.body[start:])


def _swapped(request: Request, rng: Random) -> Request:
    (a, b), (c, d) = sorted((_slice(request.body, rng), _slice(request.body, rng)))
    b, c = min(b, c), max(b, c)
    d = max(c, d)
    body = request.body
    return _broken(request, body[:a] + body[c:d] + body[b:c] + body[a:b] + body[d:])


def _stuffed(request: Request, rng: Random) -> Request:
    at = rng.randrange(len(request.body) + 1)
    stuff = rng.choice(
        (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"}{", b"\xed\xa0\x80", rng.randbytes(20))
    )
    return _broken(request, request.body[:at] + stuff + request.body[at:])


_ENCODINGS = ("gzip", "x-gzip", "zstd", "identity", "br", "deflate", "GZIP", "gzip, gzip", "\xff", "")


def _packed(request: Request, rng: Random) -> Request:
    """Compressed, and labelled as it is, or not at all."""
    name, request = (
        rng.choice(("gzip", "zstd")),
        replace(request, is_whole=request.is_whole and not _is_packed(request)),
    )
    body = gzip.compress(request.body, 1) if name == "gzip" else zstandard.compress(request.body)
    if name == "gzip" and not request.path.startswith("/v1/events") and rng.random() < 0.3:
        return replace(request, body=body)
    return replace(request, body=body, headers=(*request.headers, ("Content-Encoding", name)))


def _mislabelled(request: Request, rng: Random) -> Request:
    label = ("Content-Encoding", rng.choice(_ENCODINGS))
    return replace(request, headers=(*request.headers, label), content=None, is_whole=False)


def _other_header(request: Request, rng: Random) -> Request:
    names = [name for name, _ in request.headers] + [
        "Content-Type",
        "Authorization",
        "ce-id",
        "ce-data",
        "Origin",
    ]
    values = (
        "",
        " ",
        "x" * 9_000,
        "\xe4\xff",
        "%ff%00%",
        '"a\\"',
        "application/cloudevents+json;x",
        "Basic =",
        "1.0",
    )
    name, value = rng.choice(names), rng.choice((*values, *_ENCODINGS))
    kept = request.headers if rng.random() < 0.2 else tuple(one for one in request.headers if one[0] != name)
    return replace(request, headers=(*kept, (name, value)), content=None, is_whole=False)


def _other_address(request: Request, rng: Random) -> Request:
    more = rng.choice(
        ("?", "?" + "a=b&" * 300, "?_=9" + "9" * 30, "?e=%ff%00", "?" + "x" * 9_000, "?compression=x")
    )
    method = rng.choice((request.method, request.method, "PUT", "DELETE", "OPTIONS", "PATCH"))
    return replace(request, method=method, path=request.path + more, content=None, is_whole=False)


def _on_another_route(request: Request, rng: Random) -> Request:
    """One client's body sent where another's is read."""
    paths = (
        "/v1/batch",
        "/v1/import",
        "/v1/t",
        "/com.snowplowanalytics.snowplow/tp2",
        "/batch/",
        "/capture/",
    )
    path = rng.choice((*paths, "/i/v1/analytics/events", "/v1/cloudevents", "/v1/events"))
    return replace(request, method="POST", path=path, content=None, is_whole=False)


_MUTATIONS: tuple[Callable[[Request, Random], Request], ...] = (
    *(_replaced,) * 8,
    *(_removed, _renamed, _doubled_key) * 2,
    *(_flipped, _cut, _without, _doubled, _swapped, _stuffed, _packed, _packed),
    *(_mislabelled, _other_header, _other_address, _on_another_route),
)


def items_of(request: Request) -> int | None:
    """How many events are in it, as its sender would count them; None where that cannot be said."""
    content = request.content
    if not request.is_whole or content is None or request.method != "POST":
        return None
    fields = content if isinstance(content, dict) else {}
    match request.path:
        case "/v1/batch" | "/batch/" | "/e/" | "/i/v1/analytics/events":
            items = fields.get("batch", content)
        case "/com.snowplowanalytics.snowplow/tp2":
            items = fields.get("data")
        case "/v1/events" if list(fields) == ["events"]:
            items = fields["events"]
        case "/v1/cloudevents" if any(name.startswith("ce-") for name, _ in request.headers):
            return 1
        case _:
            items = content
    return len(items) if isinstance(items, list) else 1
