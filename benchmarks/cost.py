"""Row `cost`: all AWS charges of a million events, from a price table and the other rows."""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.cost_model import Usage, lambda_cost, path_cost
from benchmarks.runner import Bench, Result

_PRICES = Path(__file__).with_name("prices.json")
MOST = 0.2

EVENTS_A_CHUNK = 50
_SQS_CALL_US = 600
"""CPU of one SQS call through aiobotocore, as measured before; a receive and a delete a group."""
_ITEM_READS_AN_EVENT = 0.2
"""Ledger items read: those that a worker does not remember. Half a read unit each (eventually consistent)."""
_LAMBDA = {"milliseconds": 10.0, "memory_gb": 0.125}


def measure(bench: Bench, name: str) -> Result:
    """The row. Rows that it builds upon are measured if they have not been."""
    table = json.loads(_PRICES.read_text())
    prices: Mapping[str, float] = table["prices"]
    usage = _usage(bench)
    ours = path_cost(prices, usage)
    plain = lambda_cost(prices, write_units_an_event=1, **_LAMBDA)
    counting_units = bench.figure("write-units", "units_per_1000_peer") / 1000
    counting = lambda_cost(prices, write_units_an_event=counting_units, **_LAMBDA)
    total, theirs, alike = (sum(parts.values()) for parts in (ours, plain, counting))
    return Result(
        f"1/{theirs / total:.1f} (${total:.2f} against ${theirs:.2f}); against one that counts the same, "
        f"1/{alike / total:.1f} (${alike:.2f})",
        total <= theirs * MOST,
        [
            f"prices of {table['region']}, {table['as_of']}; ours: {_told(ours)}; the peer: {_told(plain)}",
            f"assumed: {usage.event_bytes} bytes an event, {usage.events_a_chunk} events a chunk, "
            f"{usage.queues} queues, {usage.messages_a_receive} messages a receive, "
            f"{usage.events_a_second:,.0f} events a second, Fargate (x86, on demand) used to "
            f"{usage.cpu_utilisation:.0%} with {usage.memory_gb_a_vcpu:.0f} GB a vCPU and "
            f"{usage.cpu_us_an_event:.0f} µs of CPU an event as measured here; not in it: traffic out, logs, "
            "what reads the results, storage beyond a month of the archive",
            f"the peer: one HTTP API request, one invocation of {_LAMBDA['milliseconds']:.0f} ms at 128 MB "
            "and one plain write unit an event; it neither counts nor finds duplicates. The one that does "
            f"writes {counting_units:.1f} units an event, as in the row write-units",
        ],
        {
            "dollars_per_million": total,
            "dollars_per_million_peer": theirs,
            "dollars_per_million_counting_peer": alike,
            "ratio": total / theirs,
        },
    )


def _usage(bench: Bench) -> Usage:
    per_event = [
        bench.figure("ingest-50", "cpu_us_per_event"),
        bench.figure("worker", "cpu_us_per_event"),
        bench.figure("worker", "cpu_us_per_event_trending"),
        bench.figure("worker", "cpu_us_per_event_archive"),
    ]
    messages_a_receive, queues = 10, 3
    sqs_us = queues * 2 * _SQS_CALL_US / (EVENTS_A_CHUNK * messages_a_receive)
    return Usage(
        event_bytes=500,
        events_a_chunk=EVENTS_A_CHUNK,
        messages_a_receive=messages_a_receive,
        queues=queues,
        write_units_per_1000=bench.figure("write-units", f"units_per_1000_chunks_of_{EVENTS_A_CHUNK}"),
        read_units_per_1000=_ITEM_READS_AN_EVENT * 0.5 * 1000,
        cpu_us_an_event=sum(per_event) + sqs_us,
        cpu_utilisation=0.6,
        memory_gb_a_vcpu=2,
        events_a_second=1_000,
        archive_files_an_hour=3_600 / 20,
        archive_bytes_an_event=150,
    )


def _told(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ${dollars:.3f}" for name, dollars in sorted(parts.items(), key=lambda p: -p[1]))
