"""What the privacy switches take out, and that they take out nothing else."""

import ipaddress
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.judgement import MAX_EVENT_BYTES
from ingest_api.privacy import ALWAYS_KEPT, IP_NAMES, USER_AGENT_NAMES, Scrubber, truncate_ip
from ingest_api.rules import Rules
from kinstream.app_rules import AppRules, Privacy

ADDRESS = "203.0.113.77"


def scrub(event, **switches):
    text = event if isinstance(event, bytes) else json.dumps(event).encode()
    return json.loads(Scrubber(Privacy(**switches)).scrub(text))


@pytest.mark.parametrize(
    ("address", "truncated"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("203.0.113.0", "203.0.113.0"),
        ("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", "2001:db8:aaaa::"),
        ("2001:DB8:AAAA::1", "2001:db8:aaaa::"),
        ("::ffff:203.0.113.77", "::ffff:203.0.113.0"),
        ("fe80::1%eth0", "fe80::"),
        ("203.0.113.77:443", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_an_address_loses_its_host_part(address, truncated):
    assert truncate_ip(address) == truncated


@pytest.mark.parametrize(
    "place",
    [
        lambda ip: {"ip": ip},
        lambda ip: {"data": {"ip": ip}},
        lambda ip: {"data": {"$ip": ip}},
        lambda ip: {"context": {"ip": ip}},
        lambda ip: {"data": {"_client": {"context": {"ip": ip}}}},
        lambda ip: {"data": {"_client": {"user_ipaddress": ip}}},
        lambda ip: {"data": {"list": [[{"client": {"IP_Address": ip}}]]}},
        lambda ip: {"data": {"X-Forwarded-For": ip}},
    ],
)
def test_an_ip_address_is_found_wherever_clients_put_it(place):
    assert scrub(place(ADDRESS), ip="truncate") == place("203.0.113.0")
    assert ADDRESS not in json.dumps(scrub(place(ADDRESS), ip="drop"))
    assert scrub(place(ADDRESS), ip="keep") == place(ADDRESS)


def test_what_is_no_single_address_is_truncated_part_by_part_or_dropped():
    for value, kept in [
        (f"{ADDRESS}, 2001:db8:1:2::3", "203.0.113.0, 2001:db8:1::"),
        ([ADDRESS, "nonsense", 3_405_803_853, {"v4": ADDRESS}, None], ["203.0.113.0", None]),
        ([[ADDRESS], [{"v4": ADDRESS}]], [["203.0.113.0"], []]),
        ("", ""),
        (None, None),
        (False, False),
    ]:
        assert scrub({"data": {"ip": value, "x": 1}}, ip="truncate") == {"data": {"ip": kept, "x": 1}}
    for value in [f"{ADDRESS}:80", "my host", 3_405_803_853, {"v4": ADDRESS}]:
        assert scrub({"data": {"x": 1, "ip": value}}, ip="truncate") == {"data": {"x": 1}}


@pytest.mark.parametrize(
    "name", ["user_agent", "userAgent", "$user_agent", "$raw_user_agent", "useragent", "User-Agent", "ua"]
)
def test_the_user_agent_is_dropped_under_every_name(name):
    event = {"data": {name: "Mozilla/5.0", "context": {name: {"brands": []}}, "page": "/"}}
    assert scrub(event, user_agent="drop") == {"data": {"context": {}, "page": "/"}}
    assert scrub(event, ip="drop") == event


def test_denied_names_are_dropped_at_any_depth_and_in_any_case():
    event = {"data": {"Email": "x", "to": [{"EMAIL": {"a": [1]}, "n": 1}], "emails": 2}, "email": 1}
    assert scrub(event, deny=("email",)) == {"data": {"to": [{"n": 1}], "emails": 2}}


def test_a_denied_path_is_the_end_of_a_fields_path():
    event = {"data": {"Address": {"street": "x", "city": "y"}, "street": 1, "address.street": 2}}
    kept = {"data": {"Address": {"city": "y"}, "street": 1}}
    assert scrub(event, deny=("address.street",)) == kept
    assert scrub(event, deny=("data.address.street",)) == {"data": {"Address": {"city": "y"}, "street": 1}}
    assert scrub({"data": {"to": [{"street": 1}]}}, deny=("to.street",)) == {"data": {"to": [{}]}}


def test_an_events_own_identity_is_never_dropped():
    event = {"id": "1", "type": "a.b", "customer_id": "c", "occurred_at": "t", "data": {"id": 7, "type": 8}}
    assert scrub(event, deny=tuple(ALWAYS_KEPT)) == event | {"data": {}}


def test_names_are_understood_however_they_are_written():
    assert scrub(rb'{"data":{"\u0069p":"203.0.113.77","b":1}}', ip="drop") == {"data": {"b": 1}}
    assert scrub('{"data":{"STRAẞE":1,"b":"ü"}}'.encode(), deny=("straße",)) == {"data": {"b": "ü"}}
    assert scrub(rb'{"data":{"a":"\"ip\":1","ip":"203.0.113.77"}}', ip="drop") == {"data": {"a": '"ip":1'}}


def test_a_name_said_twice_is_dropped_twice():
    raw = b'{"data":{"ip":"203.0.113.77","a":1.50,"ip":{}}, "data":{}, "ip":"203.0.113.78"}'
    assert Scrubber(Privacy(ip="drop")).scrub(raw) == b'{"data":{"a":1.50}, "data":{}}'


def test_bytes_that_are_kept_are_the_clients_own():
    raw = b'{ "id":"\\u0061" ,"data": {"n": 1.50, "ip":"203.0.113.77" , "big":1e5} }'
    scrubber = Scrubber(Privacy(ip="truncate", deny=("big",)))
    assert scrubber.scrub(raw) == b'{ "id":"\\u0061" ,"data": {"n": 1.50, "ip":"203.0.113.0" } }'
    untouched = b'{"id" : "x",\t"data":{"n":1.50,"ip":"10.0.0.0"}}'
    assert scrubber.scrub(untouched) is untouched


def test_deep_and_wide_events_are_read_without_recursion():
    deep = b'{"a":' * 5_000 + b'{"ip":"203.0.113.77"}' + b"}" * 5_000
    assert Scrubber(Privacy(ip="drop")).scrub(deep) == b'{"a":' * 5_000 + b"{}" + b"}" * 5_000


@pytest.mark.parametrize("above", [["address"], ["x" * 300, "Address"], ["y", "LONG" * 60]])
def test_a_denied_path_is_found_below_many_levels_and_long_names(above):
    path = ["é" * 20] * 90 + above
    opened, closed = "".join(f'{{"{name}":' for name in path), "}" * len(path)
    scrubber = Scrubber(Privacy(deny=("address.street", f"{'long' * 60}.street")))
    raw = f'{opened}{{"street":1,"n":2}}{closed}'
    assert scrubber.scrub(raw.encode()) == raw.replace('"street":1,', "").encode()
    other = raw.replace(f'"{above[-1]}"', f'"my{above[-1]}"').encode()
    assert scrubber.scrub(other) == other


@pytest.mark.parametrize("name", ["a", "\u0390"])
def test_the_levels_of_an_event_cost_no_more_memory_than_its_bytes(name):
    levels = 700
    opened = f'{{"{name * ((MAX_EVENT_BYTES - 100) // levels // len(name.encode()) - 5)}":' * levels
    raw = f'{{"email":1,"x":{opened}1{"}" * levels}}}'.encode()
    assert len(raw) <= MAX_EVENT_BYTES
    scrubber = Scrubber(Privacy(deny=("email", "address.street")))
    tracemalloc.start()
    try:
        assert scrubber.scrub_any(raw) == raw.replace(b'"email":1,', b"")
        assert tracemalloc.get_traced_memory()[1] < 32 * len(raw)
    finally:
        tracemalloc.stop()


def test_names_that_are_remembered_do_not_grow_with_what_clients_send():
    scrubber = Scrubber(Privacy(ip="drop"))
    tracemalloc.start()
    try:
        for number in range(100):
            scrubber.scrub(b'{"%06d%s":1}' % (number, b"a" * 30_000))
        assert tracemalloc.get_traced_memory()[0] < 300_000
    finally:
        tracemalloc.stop()


def test_of_the_addresses_in_an_event_the_first_are_truncated_and_the_rest_dropped():
    scrubber = Scrubber(Privacy(ip="truncate"))
    many = [f"10.0.{n // 256}.{n % 256}" for n in range(1_000)]
    kept = [f"10.0.{n // 256}.0" for n in range(100)]
    for event, rest in [
        ({"ip": many, "n": 1}, {"ip": kept, "n": 1}),
        ({"ip": ", ".join(many), "n": 1}, {"n": 1}),
        ({"ip": ", ".join(many[:100]), "ips": many}, {"ip": ", ".join(kept), "ips": []}),
        ({"a": [{"ip": one} for one in many]}, {"a": [*({"ip": one} for one in kept), *[{}] * 900]}),
    ]:
        once = scrubber.scrub(json.dumps(event).encode())
        assert json.loads(once) == rest
        assert scrubber.scrub(once) is once


_NAMES = st.sampled_from(
    ["ip", "$ip", "Ip Address", "user_agent", "email", "Tel", "id", "a", "b.tel", "b", "é", "\\", '"']
)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.ip_addresses().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=5),
    max_leaves=25,
)
_EVENTS = st.dictionaries(_NAMES, _JSON, max_size=6)


def plainly(value, privacy, path=(), addresses=False):
    """The reference: the same on decoded values. A value that is to go is `plainly` itself."""
    if isinstance(value, dict):
        if addresses:
            return plainly
        kept = {name: member(name, inner, privacy, path) for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner is not plainly}
    if isinstance(value, list):
        kept = [plainly(inner, privacy, path, addresses) for inner in value]
        return [inner for inner in kept if inner is not plainly]
    if not addresses or value is None or isinstance(value, bool) or value == "":
        return value
    try:
        return ", ".join(cut(ipaddress.ip_address(part.strip())) for part in value.split(","))
    except (ValueError, AttributeError):
        return plainly


def cut(address):
    if address.version == 6 and address.ipv4_mapped:
        return f"::ffff:{cut(address.ipv4_mapped)}"
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False).network_address)


def member(name, inner, privacy, path):
    path = (*path, name.casefold())
    plain = "".join(character for character in name.casefold() if character.isalnum())
    dotted = ".".join(path)
    own = len(path) == 1 and name in ALWAYS_KEPT
    denied = [deny for deny in privacy.deny if f".{dotted}".endswith("." + deny.casefold())]
    if (denied or (plain in USER_AGENT_NAMES and privacy.user_agent == "drop")) and not own:
        return plainly
    if plain in IP_NAMES and privacy.ip == "drop":
        return plainly
    return plainly(inner, privacy, path, plain in IP_NAMES and privacy.ip == "truncate")


@given(
    _EVENTS,
    st.builds(
        Privacy,
        ip=st.sampled_from(["keep", "truncate", "drop"]),
        user_agent=st.sampled_from(["keep", "drop"]),
        deny=st.lists(
            st.sampled_from(["email", "b.tel", "a.EMAIL", "id", "\\", "a.b.tel", "é.id"]), max_size=3
        ).map(tuple),
    ),
    st.booleans(),
)
def test_scrubbing_agrees_with_a_plain_reference_and_twice_is_once(event, privacy, spaced):
    raw = json.dumps(event, indent=1 if spaced else None, ensure_ascii=spaced).encode()
    scrubber = Scrubber(privacy)
    once = scrubber.scrub(raw)
    assert json.loads(once) == plainly(event, privacy)
    assert scrubber.scrub(once) is once


def test_the_quarantine_keeps_nothing_of_a_text_whose_fields_cannot_be_found():
    rules = Rules(AppRules(privacy=Privacy(ip="drop")), {})
    for raw in [
        b'{"ip":"203.0.113.77"',
        b"ip=203.0.113.77",
        b'"203.0.113.77"',
        b"\xff",
        b"[" * 100_000,
        b"7",
        b"",
    ]:
        assert rules.scrub(raw) is None
    large = b'{"ip":"203.0.113.77","x":"%s"}'
    assert rules.scrub(large % (b"x" * MAX_EVENT_BYTES)) is None
    assert rules.scrub(large % (b"x" * (MAX_EVENT_BYTES - 100))) is not None
    assert rules.scrub(b'{"ip":"203.0.113.77","n":1e999}') == b'{"n":1e999}'
    assert rules.scrub(b'[{"ip":"203.0.113.77"}]') == b"[{}]"
    assert Rules(AppRules(), {}).scrub(b"ip=203.0.113.77") == b"ip=203.0.113.77"
