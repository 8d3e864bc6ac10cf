"""Whatever is sent: an answer, never a 5xx, and what was taken arrives whole and can be read."""

import json
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec
import psutil
from prometheus_client.parser import text_string_to_metric_families

from kinstream.chunks import decode_chunk
from kinstream.events import PAYLOADS, ActivityData
from tests.support.ingest import Service, now_ms
from tests.support.mutation import Request, items_of, mutant, samples
from tests.support.network import Answered, Connection

MUTANTS = 5_000
SENDERS = 4
WARM_UP = 1_000
MAX_GROWTH_BYTES = 60_000_000
"""What caches may still take after the warm-up (10,000 unknown keys, event types), and what the allocator
keeps of bodies of 1 MiB. A leak of each body would be some 250 MB."""
TIME_CODES = {"occurred_at_in_future", "occurred_at_too_old"}


def send_each(service: Service, requests: Iterable[Request]) -> list[tuple[Request, Answered]]:
    """Each request with its answer, over one connection for as long as the server keeps it."""
    found: list[tuple[Request, Answered]] = []
    waiting = iter(requests)
    is_last = True
    while is_last:
        is_last = False
        with Connection(service.url) as connection:
            for request in waiting:
                connection.send_while_taken(request.wire, 1)
                answer = connection.answer()
                assert answer is not None, request
                found.append((request, answer))
                if answer.is_last:
                    is_last = True
                    break
    return found


def send_mutants(service: Service, originals: list[Request], seeds: range) -> list[tuple[Request, Answered]]:
    with ThreadPoolExecutor(SENDERS) as pool:
        shares = [
            pool.submit(send_each, service, (mutant(originals, seed) for seed in seeds[share::SENDERS]))
            for share in range(SENDERS)
        ]
        return [pair for share in shares for pair in share.result()]


def counted(request: Request, answer: Answered) -> tuple[int, list[str]] | None:
    """(events taken, why each other was not), as the answer says; None where it has no counts."""
    if answer.headers["content-type"] != "application/json" or "accepted" not in answer.json:
        return None
    accepted, rejected = answer.json["accepted"], answer.json["rejected"]
    indexes = [one["index"] for one in rejected]
    count = accepted + len(rejected)
    assert indexes == sorted(set(indexes)), request
    assert all(0 <= index < count for index in indexes), request
    assert items_of(request) in (None, count), (request, answer)
    return accepted, [one["error"] for one in rejected]


def metric(service: Service, name: str) -> int:
    text = httpx.get(service.url + "/metrics", timeout=60, trust_env=False).text
    families = text_string_to_metric_families(text)
    return int(sum(sample.value for family in families for sample in family.samples if sample.name == name))


def arrived(service: Service) -> Counter[bool]:
    """Events in the activity queue by whether they count. Whatever a processor reads must be readable."""
    sqs, name = service.aws("sqs"), service.settings.names.processor_queue("activity")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    found: Counter[bool] = Counter()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
        "Messages"
    ):
        for message in messages:
            for event in decode_chunk(message["Body"]).events:
                data = bytes(event.data)
                assert isinstance(json.loads(data, parse_int=str, parse_float=str), dict)
                for payload in (PAYLOADS.get(event.type, ActivityData), ActivityData):
                    msgspec.json.decode(data, type=payload)
                found[event.counted] += 1
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_real_requests_with_something_done_to_them_are_answered_and_never_lost_or_poison(service, app):
    originals = samples(app.write_key, now_ms())
    process = psutil.Process(service.process.pid)
    pairs = send_each(service, originals)
    assert {answer.status for _, answer in pairs} == {200, 202}
    assert [reasons for pair in pairs for _, reasons in [counted(*pair) or (0, [])] if reasons] == []
    pairs += send_mutants(service, originals, range(WARM_UP))
    before = process.memory_info().rss
    pairs += send_mutants(service, originals, range(WARM_UP, MUTANTS))
    assert process.memory_info().rss - before < MAX_GROWTH_BYTES
    statuses = Counter(answer.status for _, answer in pairs)
    assert max(statuses) < 500, [pair for pair in pairs if pair[1].status >= 500][:3]
    assert {200, 202, 400, 401, 413, 415, 422} <= set(statuses)
    told = [found for pair in pairs if pair[1].status < 300 and (found := counted(*pair))]
    taken = arrived(service)
    assert (
        sum(accepted for accepted, _ in told)
        <= taken[True]
        == metric(service, "kinstream_events_accepted_total")
    )
    assert sum(code in TIME_CODES for _, codes in told for code in codes) <= taken[False]
    assert metric(service, "kinstream_backlog_events") == 0
