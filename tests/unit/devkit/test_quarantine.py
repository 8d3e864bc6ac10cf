"""Looking at the quarantine, mending events, and what a recovery decides about each of them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest

from ingest_api.rules import Rules
from ingest_api.schemas import compile_schema
from kinstream.app_rules import AppRules, Privacy
from kinstream.errors import PermanentError, RetryableError
from kinstream_devkit import resending
from kinstream_devkit.mending import Mend, MendError, drop_step, rename_step, set_step
from kinstream_devkit.quarantine import Entry, Selection, StoredObject, entry_of, summarize
from kinstream_devkit.recovery import Planner, Recovery, line_hash

GOOD = {"id": "1", "type": "order.paid", "customer_id": "c", "occurred_at": "2026-11-20T18:04:05Z"}
STORED = StoredObject("app=a/dt=2026-11-20/x.ndjson", "a", "2026-11-20")


def line(event, reason="invalid_field", detail="type: wrong", **fields):
    values = {"app": "a", "received_at": "2026-11-20T18:04:05.000Z", "reason": reason, "detail": detail}
    return json.dumps(values | {"event": event} | fields).encode()


def mended(event, *steps, expression=None):
    found = Mend(steps, expression)(entry_of(line(event)))
    return None if found is None else json.loads(found)


def test_events_are_counted_by_day_app_and_reason():
    entries = [
        (date, Entry(app, f"{date}T0{hour}:00:00.000Z", reason, "", msgspec.Raw(b"{}")))
        for date, app, reason, hour in [
            ("2026-11-19", "a", "missing_field", 1),
            ("2026-11-20", "a", "invalid_json", 3),
            ("2026-11-20", "a", "missing_field", 2),
            ("2026-11-20", "a", "missing_field", 1),
            ("2026-11-20", "b", "missing_field", 5),
        ]
    ]
    found = [(one.date, one.app, one.reason, one.events, one.newest[11:13]) for one in summarize(entries)]
    assert found == [
        ("2026-11-20", "a", "missing_field", 2, "02"),
        ("2026-11-20", "a", "invalid_json", 1, "03"),
        ("2026-11-20", "b", "missing_field", 1, "05"),
        ("2026-11-19", "a", "missing_field", 1, "01"),
    ]


def test_simple_steps_rename_drop_and_set_by_path():
    event = {"costumer_id": "c", "data": {"old": {"n": 1}, "x": 2}}
    assert mended(event, rename_step("costumer_id=customer_id")) == {
        "customer_id": "c",
        "data": event["data"],
    }
    assert mended(event, rename_step("data.old.n=data.new.deep"))["data"] == {
        "old": {},
        "x": 2,
        "new": {"deep": 1},
    }
    assert mended(event, rename_step("nowhere.n=x"), drop_step("data.nothing"), drop_step("a.b")) == event
    assert mended(event, drop_step("data.old"))["data"] == {"x": 2}
    for text, value in [("7", 7), ("story-7", "story-7"), ('{"a":[]}', {"a": []}), ('"7"', "7"), ("", "")]:
        assert mended(event, set_step(f"data.v={text}"))["data"]["v"] == value
    assert mended({}, set_step("a.b=x=y")) == {"a": {"b": "x=y"}}


@pytest.mark.parametrize(
    ("make", "text"), [(set_step, "data"), (set_step, "=1"), (rename_step, "a"), (rename_step, "a=")]
)
def test_a_step_in_the_wrong_form_is_refused_with_an_example(make, text):
    with pytest.raises(PermanentError, match="write it as --"):
        make(text)


def test_an_expression_sees_the_event_and_what_is_known_of_it():
    assert mended({"type": "A.B"}, expression='event | {"type": event["type"].lower()}') == {"type": "a.b"}
    assert mended({"n": 1}, expression="event if event['n'] > 1 else None") is None
    assert mended('{"id": 1', expression='json.loads(event + "}")') == {"id": 1}
    everything = '{"of": [app, reason, detail, received_at], "re": re.sub("a", "b", "a")}'
    assert mended({}, expression=everything) == {
        "of": ["a", "invalid_field", "type: wrong", "2026-11-20T18:04:05.000Z"],
        "re": "b",
    }
    assert mended({"n": 2}, set_step("n=3"), expression="{k: event['n'] for k in event}") == {"n": 3}


def test_what_fails_on_one_event_is_said_of_that_event():
    for event, steps, expression, reason in [
        ({}, [], 'event["type"]', "KeyError: 'type'"),
        ({}, [], "{1, 2}", "no object but set"),
        ({}, [], "{'a': object()}", "no JSON"),
        ("text", [set_step("a=1")], None, "no JSON object"),
        ({"a": 1}, [set_step("a.b=1")], None, "a is no object"),
    ]:
        with pytest.raises(MendError, match=reason):
            mended(event, *steps, expression=expression)
    with pytest.raises(PermanentError, match="no Python expression"):
        Mend([], "import os")


def deep_line(levels=5_000, reason="too_deep"):
    event = '{"id":"1","data":' + '{"a":' * levels + r'"\"]} \\"' + "}" * levels + "}"
    text = line("EVENT", reason, r'of "event":{ it is said', first_reason="x").decode()
    return event, text.replace('"EVENT"', event).encode()


def test_an_event_too_deep_to_be_decoded_is_shown_as_its_text():
    event, text = deep_line()
    entry = entry_of(text)
    assert (entry.value, entry.first_reason) == (event, "x")
    for bad in [text[:-2], text[:-5_000], b"[" * 5_000]:
        with pytest.raises(PermanentError, match="not in its form"):
            entry_of(bad)


def test_an_event_too_deep_to_be_mended_is_said_of_that_event():
    deep = Entry("a", "", "too_deep", "", msgspec.Raw(deep_line()[0].encode()))
    with pytest.raises(MendError, match="cannot be read"):
        Mend()(deep)
    with pytest.raises(MendError, match="no JSON object"):
        Mend([set_step("a=1")])(entry_of(deep_line()[1]))


class Bucket:
    """What a recovery uses of QuarantineStore, in memory. `writes` may run out, as a killed run's do."""

    def __init__(self, **objects):
        self.held = dict(objects)
        self.writes = 1000

    def objects(self, selection, *, recovered=False):
        keys = [key for key in self.held if key.startswith("recovered/") == recovered]
        return [StoredObject(key, "a", "2026-11-20") for key in keys]

    def read_all(self, objects):
        return ((one, self.lines(one.key)) for one in list(objects))

    def lines(self, key):
        return list(self.held.get(key, []))

    def write(self, key, lines):
        if not self.writes:
            raise RetryableError("killed")
        self.writes -= 1
        self.held[key] = list(lines)
        if not self.held[key]:
            del self.held[key]

    def quarantined(self):
        return [json.loads(text) for text in self.held.get(STORED.key, [])]

    def recovered(self):
        return [json.loads(text) for text in self.held.get(f"recovered/{STORED.key}", [])]


class Api:
    """Takes everything but what `refuses` names by id."""

    def __init__(self, **refuses):
        self.refuses = refuses
        self.taken = []

    def __call__(self, events):
        ids = [json.loads(event)["id"] for event in events]
        self.taken += ids
        return {place: self.refuses[one] for place, one in enumerate(ids) if one in self.refuses}


def recover(bucket, api, *steps, expression=None, selection=None, rules=None, dry_run=False):
    selection = selection or Selection()
    planner = Planner(selection, Mend(steps, expression), rules)
    recovery = Recovery(bucket, planner, api, lambda: 1_763_661_845_000)
    return recovery.run(selection, dry_run=dry_run, progress=lambda done, total: None)


def bucket(*lines):
    return Bucket(**{STORED.key: list(lines)})


def test_a_mended_event_is_sent_recorded_and_leaves_the_quarantine():
    held, api = bucket(line(GOOD | {"type": "Order.Paid"}), line(GOOD | {"id": "2", "type": 7})), Api()
    report = recover(held, api, expression='event | {"type": event["type"].lower()}')
    assert (report.recovered, dict(report.unmendable)) == (
        1,
        {"--python: AttributeError: 'int' object has no attribute 'lower'": 1},
    )
    assert api.taken == ["1"]
    assert [one["event"]["id"] for one in held.quarantined()] == ["2"]
    (record,) = held.recovered()
    assert (record["mended"], record["refused_again"]) == (GOOD, None)
    assert record["event"]["type"] == "Order.Paid"
    again = recover(held, api, expression='event | {"type": event["type"].lower()}')
    assert (again.recovered, api.taken) == (0, ["1"])


def test_what_is_still_bad_stays_once_as_it_came_with_its_new_reason():
    original = {"id": "1", "type": "Order.Paid"}
    held, api = bucket(line(original, "missing_field", "customer_id: is required")), Api()
    for _ in range(3):
        report = recover(held, api, set_step("customer_id=c"), set_step("occurred_at=2026-11-20T18:04:05Z"))
        assert dict(report.still_bad) == {"invalid_field": 1}
    (left,) = held.quarantined()
    assert (left["reason"], left["first_reason"], left["event"]) == (
        "invalid_field",
        "missing_field",
        original,
    )
    assert left["detail"].startswith("type: ")
    assert api.taken == []
    both = [
        set_step("customer_id=c"),
        set_step("occurred_at=2026-11-20T18:04:05Z"),
        set_step("type=order.paid"),
    ]
    for reason in ("unknown_field", "missing_field"):
        recover(held, api, *both, selection=Selection(reason=reason))
    assert api.taken == ["1"]
    assert held.quarantined() == []


def test_an_event_that_the_api_refuses_again_is_not_kept_twice():
    held = bucket(line(GOOD), line(GOOD | {"id": "2"}))
    report = recover(held, Api(**{"2": "occurred_at_too_old"}))
    assert (report.recovered, dict(report.refused_again)) == (1, {"occurred_at_too_old": 1})
    # The API has quarantined it anew before it answered.
    assert held.quarantined() == []
    assert [one["refused_again"] for one in held.recovered()] == [None, "occurred_at_too_old"]


def test_what_was_archived_already_is_sent_only_with_another_time():
    late = line(GOOD, "occurred_at_too_old", "occurred_at: older")
    held, api = bucket(late), Api()
    assert recover(held, api, set_step("data.x=1")).archived == 1
    assert held.held[STORED.key] == [late]
    assert recover(held, api, set_step("occurred_at=2026-11-21T00:00:00Z")).recovered == 1


def test_a_dry_run_changes_and_sends_nothing():
    held, api = bucket(line(GOOD), line({}, "missing_field")), Api()
    before = dict(held.held)
    report = recover(held, api, dry_run=True)
    assert (report.recovered, sum(report.still_bad.values()), api.taken) == (1, 1, [])
    assert held.held == before


def test_only_the_meant_reason_is_touched_and_what_was_not_kept_is_said():
    lost = line(None, "invalid_json", "cut off (its 9 bytes are not kept)")
    held, api = bucket(line(GOOD, "missing_field"), line(GOOD | {"id": "2"}), lost), Api()
    assert recover(held, api, selection=Selection(reason="missing_field")).recovered == 1
    assert api.taken == ["1"]
    report = recover(held, api, expression="None")
    assert (report.skipped, report.not_kept, api.taken) == (1, 1, ["1"])
    assert len(held.quarantined()) == 2


def test_one_event_too_deep_to_be_read_stays_and_holds_up_no_other():
    deep = deep_line()[1]
    held, api = bucket(deep, line(GOOD)), Api()
    report = recover(held, api)
    assert (report.recovered, sum(report.unmendable.values())) == (1, 1)
    assert held.held[STORED.key] == [deep]


def test_the_apps_rules_are_applied_before_anything_is_sent():
    schema = compile_schema('{"required": ["total"]}')
    stored = AppRules(Privacy(deny=("email",)), {"order.paid": schema.version})
    rules = Rules(stored, {"order.paid": schema})
    held, api = bucket(line(GOOD | {"data": {"email": "x"}}, "schema_violation")), Api()
    assert dict(recover(held, api, rules=rules).still_bad) == {"schema_violation": 1}
    assert recover(held, api, set_step("data.total=1"), rules=rules).recovered == 1
    assert held.recovered()[0]["mended"]["data"] == {"total": 1}


@pytest.mark.parametrize("writes", [0, 1])
def test_a_run_that_is_cut_short_goes_on_without_loss(writes):
    held, api = bucket(line(GOOD), line(GOOD | {"id": "2"}, "missing_field"), line({"id": "3"})), Api()
    held.writes = writes
    with pytest.raises(RetryableError):
        recover(held, api)
    held.writes = 1000
    report = recover(held, api)
    # Without a record it is sent again, which counts once; with one it is not.
    assert api.taken == (["1", "2"] * 2 if writes == 0 else ["1", "2"])
    assert (report.recovered, report.already_recovered) == ((2, 0) if writes == 0 else (0, 2))
    assert [one["event"]["id"] for one in held.quarantined()] == ["3"]
    assert sorted(one["mended"]["id"] for one in held.recovered()) == ["1", "2"]
    assert {one["line"] for one in held.recovered()} == {
        line_hash(line(GOOD)),
        line_hash(line(GOOD | {"id": "2"}, "missing_field")),
    }


def test_requests_stay_below_the_apis_limits():
    events = [b"x" * 32_000] * 60 + [b"{}"] * 1_200
    parts = resending._requests(events)
    assert [start for start, _ in parts] == [0, *(end for _, end in parts[:-1])]
    assert parts[-1][1] == len(events)
    for start, end in parts:
        assert end - start <= resending.MAX_EVENTS
        assert sum(map(len, events[start:end])) + end - start <= resending.MAX_BYTES + 32_000
    assert resending._requests([]) == []


class Answering:
    """A server on a free port that answers each request with the next of `answers`."""

    def __init__(self, *answers):
        self.left = list(answers)
        self.keys = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):  # noqa: N805 - the base class calls it so
                handler.rfile.read(int(handler.headers["content-length"]))
                self.keys.append(handler.headers["authorization"])
                status, content, headers = self.left.pop(0)
                handler.send_response(status)
                for name, value in headers.items():
                    handler.send_header(name, value)
                handler.end_headers()
                handler.wfile.write(json.dumps(content).encode())

            def log_message(self, *arguments):
                """Nothing: tests are quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def send(self, events, said, made):
        def key():
            made.append("kw")
            return "kw"

        url = f"http://127.0.0.1:{self.server.server_port}"
        with resending.Resender(url, key, said.append) as resender:
            return resender.send(events)


def test_the_api_is_asked_again_until_it_has_taken_all():
    said, made = [], []
    busy = {"code": "overloaded", "message": "come back", "detail": None}
    taken = {
        "accepted": 1,
        "rejected": [{"index": 1, "id": None, "error": "occurred_at_too_old", "detail": ""}],
    }
    answers = [(503, busy, {"Retry-After": "1"}), (429, busy, {}), (202, taken, {})]
    with Answering(*answers) as api:
        assert api.send([b"{}", b"{}"], said, made) == {1: "occurred_at_too_old"}
    assert len(api.keys) == 3
    assert made == ["kw"]
    assert said[0] == "waiting 1 s: 503 overloaded: come back"


def test_a_refused_request_is_said_in_the_apis_words_and_not_repeated():
    with (
        Answering((401, {"code": "unknown_key", "message": "no"}, {})) as api,
        pytest.raises(PermanentError, match="401 unknown_key: no"),
    ):
        api.send([b"{}"], [], [])
    assert api.left == []


def test_without_events_no_key_is_asked_for():
    made = []
    with Answering() as api:
        assert api.send([], [], made) == {}
    assert made == []
