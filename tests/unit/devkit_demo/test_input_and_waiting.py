"""The user's own files, requests of a bearable size, and waiting that ends."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from kinstream_devkit.demo.findings import DemoError
from kinstream_devkit.demo.inputs import read_events, retention_seconds
from kinstream_devkit.demo.send import EVENTS_A_REQUEST, cut_into_requests
from kinstream_devkit.demo.wait import settle
from kinstream_devkit.generate.world import Delivery, Workload

EVENTS = [{"id": str(n), "customer_id": "fam", "occurred_at": "2026-11-20T12:00:00Z"} for n in range(3)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("text", [json.dumps(EVENTS), "\n\n".join(map(json.dumps, EVENTS))])
def test_an_array_and_ndjson_are_read_packed_or_not(tmp_path, packed, text):
    path = tmp_path / "events"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert [delivery.event for delivery in read_events([path]).deliveries] == EVENTS


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"id": "1"}\nno json', "line 2"),
        ("[1]", "entry 1"),
        ('{"id": "1"}\n7', "line 2"),
        ("", "no events"),
        ("[1", "neither"),
    ],
)
def test_a_file_that_is_no_list_of_events_is_refused_by_name_and_line(tmp_path, text, where):
    path = tmp_path / "mine.ndjson"
    path.write_text(text)
    with pytest.raises(DemoError, match=rf"mine\.ndjson.*{where}"):
        read_events([path])


def test_a_cut_off_gzip_is_refused_by_name(tmp_path):
    path = tmp_path / "mine.gz"
    path.write_bytes(gzip.compress(b"[1, 2, 3]")[:-6])
    with pytest.raises(DemoError, match=r"mine\.gz cannot be read"):
        read_events([path])


def test_retention_reaches_back_to_the_oldest_event_and_never_below_the_usual():
    now = datetime(2026, 11, 21, tzinfo=UTC)
    old = Workload([Delivery({"occurred_at": "2020-01-01T00:00:00Z"}), Delivery({"occurred_at": 3})])
    assert retention_seconds(old, now, 3_600) > timedelta(days=2_500).total_seconds()
    assert retention_seconds(Workload([]), now, 3_600) == 3_600


def test_requests_keep_the_order_and_stay_small():
    deliveries = [Delivery({"id": str(n), "data": "x" * (30_000 if n < 40 else 1)}) for n in range(200)]
    requests = list(cut_into_requests(deliveries))
    assert [delivery for request in requests for delivery in request] == deliveries
    assert max(map(len, requests)) == EVENTS_A_REQUEST
    assert len(requests[0]) < EVENTS_A_REQUEST


async def test_settling_ends_when_all_is_there():
    found = {"a": 0, "b": 0}

    async def read(key):
        found[key] += 1
        return found[key]

    seen = []
    assert await settle({"a": 2, "b": 1, "c": 0}, read, seen.append)
    assert seen[-1] == 3


async def test_settling_gives_up_when_nothing_moves():
    async def read(_key):
        return 1

    assert not await settle({"a": 2}, read, patience_seconds=0.01)
