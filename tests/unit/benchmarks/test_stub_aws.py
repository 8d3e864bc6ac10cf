"""The stub of AWS: it counts what it took, and between cut and mend it takes nothing."""

import asyncio
import re

from benchmarks.stub_aws import Stub
from kinstream.chunks import Part, assemble_chunk


async def call(stub, path, body=b""):
    """The body of its answer, or None where it gave none until the caller went away."""
    messages = iter(({"type": "http.request", "body": body}, {"type": "http.disconnect"}))
    sent = []

    async def receive():
        await asyncio.sleep(0)
        return next(messages)

    async def send(message):
        sent.append(message)

    await stub({"type": "http", "path": path, "headers": []}, receive, send)
    return sent[1]["body"].decode() if sent else None


def publish(*ids):
    """A PublishBatch call with an event a chunk."""
    event = '{"id":"%s","type":"app.opened","customer_id":"c","occurred_at":"2026-01-01T00:00:00Z"}'
    chunks = [assemble_chunk("app", [Part((event % each).encode(), 1, 0)]) for each in ids]
    members = (
        b"&PublishBatchRequestEntries.member.%d.Id=%d&PublishBatchRequestEntries.member.%d.Message=%b"
        % (number, number, number, chunk)
        for number, chunk in enumerate(chunks, 1)
    )
    return b"Action=PublishBatch" + b"".join(members)


async def test_it_confirms_each_message_and_counts_events_and_different_ones():
    stub = Stub(keep=True)
    assert re.findall(r"<Id>(\d+)</Id>", await call(stub, "/", publish("a", "b"))) == ["1", "2"]
    await call(stub, "/", publish("b"))
    assert await call(stub, "/_arrived") == '{"events": 3, "distinct": 2}'


async def test_while_sns_is_cut_off_nothing_is_answered_or_taken():
    stub = Stub(keep=True)
    await call(stub, "/_sns/cut")
    assert await call(stub, "/", publish("a")) is None
    await call(stub, "/_sns/mend")
    await call(stub, "/", publish("b"))
    assert await call(stub, "/_arrived") == '{"events": 1, "distinct": 1}'
