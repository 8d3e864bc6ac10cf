"""Rules of an app and the way back from the quarantine: a real ingest-api, the command as users call it."""

import json
import os
import signal
import subprocess
import time
import uuid

import pytest

from kinstream.chunks import decode_chunk
from kinstream_devkit.app_rules import RuleBook
from kinstream_devkit.apps import Apps
from kinstream_devkit.embedded.datadir import DataDir, StackState
from kinstream_devkit.embedded.emulator import console_script
from kinstream_devkit.quarantine import QuarantineStore, Selection, entry_of
from tests.support.ingest import native, published
from tests.support.stack import eventually, kinstream

ADDRESS = "203.0.113.77"
AGENT = "Mozilla/5.0 (secret build)"
SEEN_BY_ALL = "archive"


@pytest.fixture
def command(service, app, tmp_path):
    """`kinstream` with the folder of a stack that is this service; its text, after success."""
    data = DataDir(tmp_path)
    settings = service.settings
    endpoint = str(settings.aws_endpoint_url)
    data.write_state(StackState(os.getpid(), service.url, endpoint, "", "", settings.name_prefix, {}))

    def run(*arguments, fails=False):
        done = kinstream(*arguments, "--data-dir", str(tmp_path))
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    run.data_dir = tmp_path
    return run


@pytest.fixture
def store(service):
    return QuarantineStore(service.aws("s3"), service.settings.names)


@pytest.fixture
def book(service):
    return RuleBook(service.aws("dynamodb"), service.settings.names)


def entries(store, app):
    return [
        entry_of(line) for _, lines in store.read_all(store.objects(Selection(app.name))) for line in lines
    ]


def send(app, *events):
    answer = app.writer.post("/v1/events", json=list(events))
    assert answer.status_code == 202, answer.text
    return answer.json()


def bad(**fields):
    """An event whose customer is misspelt."""
    event = native(**fields)
    event["costumer_id"] = event.pop("customer_id")
    return event


def test_an_event_from_quarantine_arrives_once_however_often_it_is_recovered(service, app, command, store):
    events = [bad() for _ in range(7)]
    upper = native(type="Content.Viewed")
    assert len(send(app, *events, upper)["rejected"]) == 8
    arguments = ["recover", "--app", app.name, "--rename", "costumer_id=customer_id"]
    assert "7  would be sent" in command(*arguments, "--dry-run")
    assert len(entries(store, app)) == 8
    told = command(*arguments)
    assert "7  recovered" in told
    assert "1 x invalid_field" in told
    assert "1  still not in order" in command(*arguments)
    assert "1  recovered" in command(
        "recover", "--app", app.name, "--python", 'event | {"type": event["type"].lower()}'
    )
    assert "nothing to recover" in command(*arguments)
    arrived = published(service, app, SEEN_BY_ALL, 8, and_no_more=True)
    assert sorted(event.id for event in arrived) == sorted(event["id"] for event in [*events, upper])
    assert {event.customer_id for event in arrived} == {"fam-42"}
    assert entries(store, app) == []


def test_the_quarantine_is_listed_and_shown(app, command):
    send(app, bad(id="first"), bad(id="second"), {"id": "third"})
    app.writer.post("/v1/events", content=b'{"id":1}\n{"id": "cut')
    listed = command("quarantine", "list", "--app", app.name).splitlines()
    assert [line.split()[1:4] for line in listed[1:-1]] == [
        [app.name, "unknown_field", "2"],
        [app.name, "invalid_field", "1"],
        [app.name, "invalid_json", "1"],
        [app.name, "missing_field", "1"],
    ]
    assert listed[-1] == "5 events"
    shown = command("quarantine", "show", "--app", app.name, "--reason", "invalid_json")
    assert "invalid_json" in shown
    assert '{"id": "cut' in shown
    lines = command("quarantine", "show", "--app", app.name, "--json").splitlines()
    assert {json.loads(line)["app"] for line in lines} == {app.name}
    assert (
        command("quarantine", "list", "--app", app.name, "--to", "2020-01-01") == "nothing is in quarantine\n"
    )


def test_a_recovery_that_is_killed_goes_on_and_counts_everything_once(service, app, command, store):
    sent = [bad() for _ in range(1_200)]
    for start in range(0, len(sent), 4):
        send(app, *sent[start : start + 4])
    arguments = ["recover", "--app", app.name, "--rename", "costumer_id=customer_id"]
    # Slow enough for this test to come in time.
    slowly = ["--python", "__import__('time').sleep(0.005) or event"]
    script = [console_script("kinstream"), *arguments, *slowly, "--data-dir", str(command.data_dir)]
    process = subprocess.Popen(script, stdout=subprocess.DEVNULL)
    recovered = Selection(app.name)
    eventually(
        lambda: process.poll() is not None or store.objects(recovered, recovered=True), "a first record"
    )
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert entries(store, app) != []
    command(*arguments)
    assert entries(store, app) == []
    arrived = published(service, app, SEEN_BY_ALL, len(sent), and_no_more=True)
    identities = {(event.id, event.occurred_at) for event in arrived}
    assert identities == {(event["id"], event["occurred_at"]) for event in sent}


def test_a_schema_is_laid_down_enforced_shown_and_taken_back(service, app, command, store, tmp_path):
    file = tmp_path / "viewed.json"
    file.write_text('{"properties": {"seconds": {"type": "number"}}, "required": ["seconds"]}')
    options = ["--app", app.name]
    assert "no schemas" in command("schemas", "list", *options)
    command("schemas", "put", *options, "content.viewed", str(file))
    assert command("schemas", "list", *options).split()[0] == "content.viewed"
    assert command("schemas", "show", *options, "content.viewed").strip() == file.read_text()
    wrong = native(data={"content_id": "c", "seconds": "4111-1111"})
    answer = send(
        app, wrong, native(data={"content_id": "c", "seconds": 2}), native(type="page.viewed", data={})
    )
    assert answer["accepted"] == 2
    (rejection,) = answer["rejected"]
    assert (rejection["id"], rejection["error"]) == (wrong["id"], "schema_violation")
    assert rejection["detail"] == 'data.seconds: the value is not of type "number"'
    assert [entry.reason for entry in entries(store, app)] == ["schema_violation"]
    recover = ["recover", *options, "--set", "data.seconds=3"]
    assert "1  recovered" in command(*recover)
    arrived = published(service, app, SEEN_BY_ALL, 3, and_no_more=True)
    assert wrong["id"] in {event.id for event in arrived}
    assert len(arrived) == 3
    command("schemas", "delete", *options, "content.viewed")
    assert "no schemas" in command("schemas", "list", *options)
    assert "has no schema" in command("schemas", "show", *options, "content.viewed", fails=True)


def test_what_is_no_schema_or_no_app_is_refused_in_words(app, command, tmp_path):
    file = tmp_path / "schema.json"
    for text, words in [
        ('{"type": "objekt"}', "the schema is not valid: type"),
        ('{"$ref": "https://example.com/x"}', "only parts of the schema itself"),
        ("{", "the schema is no JSON"),
    ]:
        file.write_text(text)
        refused = command("schemas", "put", "--app", app.name, "content.viewed", str(file), fails=True)
        assert words in refused
        assert "Traceback" not in refused
    file.write_text("{}")
    assert "no event type" in command("schemas", "put", "--app", app.name, "Viewed", str(file), fails=True)
    for arguments in (["schemas", "list"], ["privacy", "show"], ["recover"]):
        assert "there is no app nobody" in command(*arguments, "--app", "nobody", fails=True)
    file.write_text("x")
    assert "no Python expression" in command("recover", "--app", app.name, "--python", "a b", fails=True)


def test_an_app_has_at_most_two_hundred_schemas(app, book):
    for number in range(200):
        book.put_schema(app.name, f"kind.n{number}", "{}")
    book.put_schema(app.name, "kind.n7", '{"type": "object"}')
    with pytest.raises(Exception, match="200 schemas, which is the limit"):
        book.put_schema(app.name, "one.more", "{}")
    book.delete_schema(app.name, "kind.n8")
    book.put_schema(app.name, "one.more", "{}")
    assert len(book.rules_of(app.name).schemas) == 200


def test_private_fields_are_stored_nowhere(service, app, command, store):
    assert command("privacy", "show", "--app", app.name).split()[:2] == ["ip", "keep"]
    told = command(
        *("privacy", "set", "--app", app.name, "--ip", "truncate", "--user-agent", "drop"),
        *("--deny", "Email", "--deny", "address.street"),
    )
    assert "address.street, email" in told
    private = {"email": "x@example.com", "address": {"street": "Long Lane 1", "city": "Y"}}
    client = {"_client": {"context": {"ip": ADDRESS, "userAgent": AGENT}}}
    data = {"content_id": "c", "$ip": ADDRESS, "$raw_user_agent": AGENT} | private | client
    good, late = native(data=data), native(data=data, occurred_at="2001-01-01T00:00:00Z")
    answer = send(app, good, late, native(data=data) | {"oops": 1})
    assert answer["accepted"] == 1
    lines = [json.dumps(native(data=data)).encode(), json.dumps(bad(data=data)).encode()[:-1]]
    assert app.writer.post("/v1/events", content=b"\n".join(lines)).json()["accepted"] == 1
    context = {"ip": ADDRESS, "userAgent": AGENT}
    track = {"type": "track", "event": "A B", "messageId": "m", "userId": "u", "context": context}
    batch = [track | {"timestamp": good["occurred_at"]}, track | {"messageId": "without a time"}]
    assert app.writer.post("/v1/batch", json={"batch": batch}).status_code == 200
    arrived = published(service, app, SEEN_BY_ALL, 4, and_no_more=True)
    kept = [bytes(event.data).decode() for event in arrived] + [
        bytes(entry.event).decode() for entry in entries(store, app)
    ]
    assert len(kept) == 8
    for text in kept:
        for secret in (ADDRESS, AGENT, "x@example.com", "Long Lane"):
            assert secret not in text
    by_id = {event.id: json.loads(bytes(event.data)) for event in arrived}
    assert by_id[good["id"]] == {
        "content_id": "c",
        "$ip": "203.0.113.0",
        "address": {"city": "Y"},
        "_client": {"context": {"ip": "203.0.113.0"}},
    }
    (cut,) = [entry for entry in entries(store, app) if entry.reason == "invalid_json"]
    assert bytes(cut.event) == b"null"
    assert "not kept" in command("quarantine", "show", "--app", app.name, "--reason", "invalid_json")
    told = command("recover", "--app", app.name, "--reason", "invalid_json", "--set", "a=1")
    assert "1  not kept" in told


def test_rules_of_one_app_leave_another_alone_and_a_change_counts_soon(service, app, command, book):
    apps = Apps(service.aws("dynamodb"), service.settings.names)
    other = f"other{uuid.uuid4().hex[:8]}"
    data = {"content_id": "c", "ip": ADDRESS}
    with service.client(apps.create(other, "write")) as writer:
        send(app, native(data=data))
        command("privacy", "set", "--app", app.name, "--ip", "drop")
        assert writer.post("/v1/events", json=native(data=data)).json()["accepted"] == 1
    queue = service.aws("sqs").get_queue_url(QueueName=service.settings.names.processor_queue(SEEN_BY_ALL))[
        "QueueUrl"
    ]
    found = {app.name: set(), other: set()}
    deadline = time.monotonic() + 180
    while "no ip" not in found[app.name] or not found[other]:
        assert time.monotonic() < deadline, found
        send(app, native(data=data))
        answer = service.aws("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            chunk = decode_chunk(message["Body"])
            for event in chunk.events if chunk.app in found else []:
                found[chunk.app].add("ip" if b"ip" in bytes(event.data) else "no ip")
    assert found == {app.name: {"ip", "no ip"}, other: {"ip"}}


def test_an_app_has_a_rate_of_its_own_until_it_is_taken_back(app, command):
    options = ["--app", app.name]
    assert command("limits", "show", *options) == "default\n"
    assert command("limits", "set", "500", *options) == "500 events a second\n"
    assert command("limits", "show", *options) == "500 events a second\n"
    # Rules that concern no event change nothing about events.
    assert send(app, native(), bad())["accepted"] == 1
    assert "is no rate" in command("limits", "set", "0", *options, fails=True)
    assert command("limits", "set", "default", *options) == "default\n"
