"""A request's trace goes with its events to the last write, and tells nothing of whose they are."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kinstream_devkit.embedded.emulator import wait_until
from kinstream_devkit.generate.media import write_photo
from tests.support.collector import Collector, Span, collector
from tests.support.stack import RunningStack, eventually, kinstream, running_stack

pytestmark = pytest.mark.xdist_group("stack")
UPLOADS = 4
CUSTOMER = "fam-that-nobody-may-read-of"


@pytest.fixture(scope="module")
def told() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(told: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    variables = {"KINSTREAM_OTLP_ENDPOINT": told.url, "KINSTREAM_TRACE_RATIO": "1"}
    with running_stack(tmp_path_factory.mktemp("traced") / "data", variables) as stack:
        # Others of this file may run elsewhere, and a worker that counted nothing has no numbers to send.
        send(stack)
        first(told, "process activity")
        yield stack
        assert stack.stop() == 0
    # What waits is sent before the end.
    assert {"kinstream.events", "kinstream.group.duration"} <= told.metrics["session-worker"]


def send(stack: RunningStack, **headers: str) -> None:
    event = {
        "id": "e-1",
        "type": "content.viewed",
        "customer_id": CUSTOMER,
        "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data": {"content_id": "story-1"},
    }
    answer = httpx.post(
        f"{stack.url}/v1/events", json=event, auth=(stack.write_key, ""), headers=headers, timeout=60
    )
    assert answer.status_code == 202


def first(told: Collector, name: str, trace_id: str = "") -> Span:
    eventually(lambda: bool(told.named(name, trace_id)), f"a span {name}")
    return told.named(name, trace_id)[0]


def test_trace_of_an_event_runs_from_the_post_to_the_last_write(traced: RunningStack, told: Collector):
    send(traced)
    post = first(told, "POST /v1/events")
    assert (post.service, post.parent_id) == ("ingest-api", "")
    assert post.attributes == {"http.response.status_code": 202}
    publish = first(told, "publish events", post.trace_id)
    assert publish.parent_id == post.span_id
    for processor in ("activity", "content", "archive"):
        work = first(told, f"process {processor}", post.trace_id)
        assert (work.service, work.parent_id) == ("session-worker", publish.span_id)
    commits = told.named("commit", post.trace_id)
    assert {commit.parent_id for commit in commits} == {
        told.named(f"process {processor}", post.trace_id)[0].span_id for processor in ("activity", "content")
    }


def test_client_cannot_decide_what_is_traced(traced: RunningStack, told: Collector):
    theirs = "0af7651916cd43dd8448eb211c80319c"
    before = len(told.named("POST /v1/events"))
    send(traced, traceparent=f"00-{theirs}-b7ad6b7169203331-01")
    eventually(lambda: len(told.named("POST /v1/events")) > before, "the request's span")
    assert not [span for span in told.spans if span.trace_id == theirs]


def test_reading_is_traced_by_the_route_and_not_by_the_address(traced: RunningStack, told: Collector):
    authorization = {"Authorization": f"Bearer {traced.secret_key}"}
    httpx.get(f"{traced.url}/v1/customers/{CUSTOMER}/counters", headers=authorization, timeout=60)
    httpx.get(f"{traced.url}/somewhere/{CUSTOMER}", timeout=60)
    first(told, "GET /v1/customers/{customer_id}/counters")
    assert first(told, "request").attributes == {"http.response.status_code": 404}


def test_trace_of_an_upload_goes_on_in_the_processes_of_celery(
    traced: RunningStack, told: Collector, tmp_path: Path
):
    photo = tmp_path / "photo.jpg"
    write_photo(photo, 400, 300, orientation=1)
    data_dir = str(traced.data_dir)

    def is_whole() -> bool:
        dispatched = {one.trace_id for one in told.named("dispatch media")}
        worked_on = {one.trace_id for one in told.named("work on media") if one.attributes["step"] == "main"}
        return bool(dispatched & worked_on)

    # These processes give a span up that a busy collector does not take within seconds: then the next one.
    for _ in range(UPLOADS):
        done = kinstream("media", "put", "--customer", CUSTOMER, str(photo), "--data-dir", data_dir)
        assert done.returncode == 0, done.stderr
        if wait_until(is_whole, lambda: True, 30):
            return
    raise AssertionError("no trace has its main step")


def test_nothing_of_a_customer_is_in_any_span(traced: RunningStack, told: Collector):
    send(traced)
    post = first(told, "POST /v1/events")
    first(told, "process archive", post.trace_id)
    for secret in (CUSTOMER, "story-1"):
        assert not [span for span in told.spans if secret in json.dumps(span)]
