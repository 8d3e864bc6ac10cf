"""Row `recommendations-read`: the time of `GET recommendations`, ingest-api before a DynamoDB emulator.

One client, one request after another. The server's own time is its CPU for a request; what the client waits
holds the emulator's time too, which is a Python program's and no measure of DynamoDB.
"""

import statistics
import time
from typing import Any

import httpx

from benchmarks import collectors
from benchmarks.collectors import APP, PREFIX
from benchmarks.runner import Bench, Result
from kinstream import keys
from kinstream.aws import blocking_client
from kinstream.dynamo import Item, to_item, to_key
from kinstream.ledger_format import Bucket, bucket_start_ms, encode_bucket, entry_of, partition_key, sort_key
from kinstream.resources import TABLE_LEDGER, TABLE_RECOMMENDATIONS
from kinstream.settings import CoreSettings
from kinstream.versions import Versions, row_of
from kinstream_devkit.apps import Apps
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.ministack import ministack

MOST_MS = 10
_CUSTOMERS = 10
_DEVICES = ("ipad-1", "tv")
_HOURS_BACK = 24 * 14
_HOUR_MS = 3_600_000
_LIST = 30
_BATCH = 25
_RUN = "20261121T000000000Z-bench"


def measure(bench: Bench, name: str) -> Result:
    """The row."""
    requests = bench.pick(300, 3_000)
    with ministack() as url:
        settings = CoreSettings(name_prefix=PREFIX, aws_endpoint_url=url)
        provision(settings, processor_queues())
        dynamodb = blocking_client("dynamodb", settings)
        key = Apps(dynamodb, settings.names).create(APP, "secret")
        bench.say("filling the tables")
        _fill(dynamodb, settings)
        with collectors.ingest_api(bench.folder, settings, key) as side:
            base = f"http://127.0.0.1:{side.port}"
            with httpx.Client(base_url=base, auth=(key, ""), trust_env=False, timeout=30) as client:
                took_ms, cpu_ms = _ask(client, side, requests)
    p50, p99 = (statistics.quantiles(took_ms, n=100)[place - 1] for place in (50, 99))
    return Result(
        f"{cpu_ms:.1f} ms CPU of the server; p50 {p50:.1f} ms, p99 {p99:.1f} ms with the emulator's time",
        cpu_ms <= MOST_MS,
        [
            f"{requests:,} requests one after another for {_CUSTOMERS} customers with lists of {_LIST} and "
            f"{_HOURS_BACK // 24} days of events on {len(_DEVICES)} devices: one item of lists, one or two "
            f"pages of the ledger beside it, the pointer every ten seconds; the emulator's time is in it"
        ],
        {"p50_ms": p50, "p99_ms": p99, "cpu_ms": cpu_ms},
    )


def _ask(client: httpx.Client, side: collectors.Side, requests: int) -> tuple[list[float], float]:
    def ask(number: int) -> None:
        answer = client.get(f"/v1/customers/fam-{number % _CUSTOMERS}/recommendations")
        assert answer.json()["source"] == "model", answer.text

    for number in range(_CUSTOMERS):
        ask(number)
    took_ms, before = [], side.cpu_seconds
    for number in range(requests):
        began = time.perf_counter()
        ask(number)
        took_ms.append((time.perf_counter() - began) * 1000)
    return took_ms, (side.cpu_seconds - before) / requests * 1000


def _fill(dynamodb: Any, settings: CoreSettings) -> None:
    now_ms = time.time_ns() // 1_000_000
    versions = Versions().published(_RUN, now_ms, now_ms - 6 * _HOUR_MS)
    _put(dynamodb, settings, TABLE_RECOMMENDATIONS, keys.recommendation_pointer(APP), row_of(versions))
    items = [
        {"content_id": f"story-{n}", "score": 9.0 - n / 9, "because": ["story-99"]} for n in range(_LIST)
    ]
    ends = now_ms // 1000 + 86_400
    for number in range(_CUSTOMERS):
        customer = f"fam-{number}"
        values = {"run_id": _RUN, "as_of_ms": now_ms - 6 * _HOUR_MS, "items": items, "expires_at": ends}
        _put(dynamodb, settings, TABLE_RECOMMENDATIONS, keys.recommendations(APP, customer, _RUN), values)
        buckets = [
            _bucket(customer, device, now_ms - hours * _HOUR_MS)
            for device in _DEVICES
            for hours in range(0, _HOURS_BACK, 6)
        ]
        for start in range(0, len(buckets), _BATCH):
            puts = [{"PutRequest": {"Item": item}} for item in buckets[start : start + _BATCH]]
            dynamodb.batch_write_item(RequestItems={settings.names.of(TABLE_LEDGER): puts})


def _bucket(customer: str, device: str, time_ms: int) -> Item:
    bucket = Bucket(bucket_start_ms(time_ms, 3_600))
    for number in range(10):
        fact = "reading", f"story-{(time_ms // _HOUR_MS + number) % 200}"
        bucket.add(entry_of(f"e{number}", number * 1000, b"key"), fact)
    entries, facts = encode_bucket(bucket)
    key = partition_key(APP, "activity", [customer]), sort_key([device], bucket.start_ms)
    return to_key(key) | to_item({"entries": entries, "facts": facts, "version": 1})


def _put(dynamodb: Any, settings: CoreSettings, table: str, key: keys.Key, values: dict[str, Any]) -> None:
    item = to_key(key) | to_item(values)
    dynamodb.put_item(TableName=settings.names.of(table), Item=item)
