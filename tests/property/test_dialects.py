"""Every dialect, whatever is sent to it: a reading or a refusal, and the same one every time."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.admission import Refused, admit_items
from ingest_api.dialects.base import Dialect, Incoming, Outcome, Reading
from ingest_api.dialects.cloudevents import CloudEvents
from ingest_api.dialects.posthog import PostHog
from ingest_api.dialects.segment import Segment
from ingest_api.dialects.snowplow import Snowplow
from ingest_api.errors import ApiError
from tests.support.reading import NOW, NOW_MS, RETENTION_MS

DIALECTS = [Segment(), Snowplow(), PostHog(), CloudEvents()]
MEDIA = [
    b"",
    b"application/json",
    b"text/plain",
    b"application/cloudevents+json",
    b"application/cloudevents-batch+json; charset=utf-8",
]
NAMES = [
    *("batch", "data", "properties", "context", "traits", "options", "device"),
    *("type", "event", "name", "e", "ue_pr", "ue_px", "cx", "co", "schema", "se_ca", "se_ac"),
    *("id", "messageId", "uuid", "eid", "writeKey", "api_key", "token", "aid"),
    *(
        "userId",
        "anonymousId",
        "distinct_id",
        "uid",
        "duid",
        "customerid",
        "subject",
        "personid",
        "person_id",
    ),
    *("timestamp", "originalTimestamp", "sentAt", "sent_at", "dtm", "ttm", "stm", "time"),
    *("specversion", "source", "data_base64", "$set", "$device_id", "_client", "groupId", "previousId"),
]
WORDS = [
    "track",
    "identify",
    "page",
    "pv",
    "se",
    "ue",
    "tr",
    "$set",
    "1.0",
    "content.viewed",
    NOW,
    str(NOW_MS),
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS)
    | st.just("x" * 200)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
    max_leaves=25,
)
messages = st.dictionaries(st.sampled_from(NAMES), values, max_size=12)
envelopes = st.builds(
    lambda name, items, more: more | {name: items},
    st.sampled_from(["batch", "data"]),
    st.lists(messages | values, max_size=4),
    messages,
)
texts = (messages | envelopes | st.lists(messages, max_size=3) | values).map(json.dumps)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """JSON of the right shape with some bytes replaced, or cut off."""
    body = bytearray(draw(texts).encode())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body) - 1))
        body[at : at + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3)
            | st.sampled_from([b"\\ud800", b"\\u0000", b'"', b"{", b"]", b"NaN", b"1e999"])
        )
        if not body:
            break
    return bytes(body)


bodies = st.binary(max_size=200) | damaged() | st.binary(max_size=60).map(lambda tail: b"data=" + tail)
headers = st.dictionaries(
    st.sampled_from([b"ce-id", b"ce-type", b"ce-time", b"ce-specversion", b"ce-source", b"ce-data", b"ce-x"]),
    st.binary(max_size=20) | st.sampled_from([b"1.0", NOW.encode(), b'"a\\"', b"%ff%"]),
    max_size=6,
)


@st.composite
def requests(draw: st.DrawFn, dialect: Dialect) -> Incoming:
    path, methods = draw(st.sampled_from(sorted(dialect.routes.items())))
    found = draw(headers) | {b"content-type": draw(st.sampled_from(MEDIA) | st.binary(max_size=30))}
    if draw(st.booleans()):
        found[b"authorization"] = b"Bearer kw_demo_1"
    query = draw(st.binary(max_size=60) | texts.map(lambda text: b"e=ue&ue_pr=" + text.encode()))
    return Incoming(sorted(methods)[0], path, query, found, draw(bodies), NOW_MS)


def read(dialect: Dialect, request: Incoming) -> Reading | tuple[int, str]:
    try:
        return dialect.read(request)
    except ApiError as error:
        return error.status, error.code


def said_by(reading: Reading | tuple[int, str]) -> Any:
    """All of it, with verdicts by what they say."""
    if not isinstance(reading, Reading):
        return reading
    items = [
        (item.original, item.verdict.code, item.verdict.detail) if isinstance(item, Refused) else item
        for item in reading.items
    ]
    return reading.key, reading.notes, items


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: type(dialect).__name__)
@given(data=st.data())
def test_any_request_is_read_or_refused_and_always_in_the_same_way(dialect: Dialect, data: Any) -> None:
    request = data.draw(requests(dialect))
    reading = read(dialect, request)
    assert said_by(read(dialect, request)) == said_by(reading)
    if not isinstance(reading, Reading):
        assert 400 <= reading[0] < 500
        return
    if reading.key is not None:
        reading.key.encode()
    admission = admit_items(reading.items, NOW_MS, RETENTION_MS)
    uncounted = {rejection.index for rejection in admission.rejected}
    assert admission.accepted + len(uncounted) == len(reading.items)
    answer = dialect.answer(request, reading, Outcome(admission.accepted, admission.rejected))
    assert answer.status == 200
    if answer.content_type == b"application/json":
        assert isinstance(msgspec.json.decode(answer.body), dict)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: type(dialect).__name__)
@given(status=st.integers(400, 599))
def test_a_refusal_stays_a_refusal_with_its_code(dialect: Dialect, status: int) -> None:
    error = dialect.refusal(ApiError(status, "some_code", "why", {"a": 1}, {"Retry-After": "1"}))
    assert (error.code, error.message, error.detail) == ("some_code", "why", {"a": 1})
    assert 400 <= error.status < 600
    assert error.headers["Retry-After"] == "1"
