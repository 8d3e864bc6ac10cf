"""Real events with real lateness: 33,065 of them make exactly the sessions that are known for them."""

import csv
import gzip
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kinstream_devkit.embedded.environment import API
from kinstream_devkit.embedded.stack import ANY_PORT, Stack, StackAddress, StackOptions
from tests.support.sending import Reader, Sender, wait_for

DATA = Path(__file__).parents[3] / "shared/data/events/git-activity.csv.gz"
TWENTY_YEARS_SECONDS = 20 * 366 * 86_400
SENDERS = 4
KNOWN_SESSIONS = 16_941
KNOWN_LONGEST = 78
KNOWN_SINGLES = 10_309


def rows() -> list[dict[str, str]]:
    with gzip.open(DATA, "rt", newline="") as file:
        return list(csv.DictReader(file))


def native(row: dict[str, str]) -> dict:
    return {
        "id": row["event_id"],
        "type": "content.viewed",
        "customer_id": row["customer_id"],
        "device_id": "git",
        "occurred_at": datetime.fromtimestamp(int(row["occurred_at"]), UTC).isoformat(),
        "data": {"content_id": row["content_id"]},
    }


def send(address: StackAddress, events: list[dict]) -> None:
    with Sender(address.url, address.write_key) as sender:
        sender.send_all(events)


@pytest.mark.timeout(1_800)
@pytest.mark.xdist_group("stack")
@pytest.mark.skipif(not DATA.exists(), reason=f"the real events are not beside the project: {DATA.name}")
def test_real_events_make_exactly_the_known_sessions(tmp_path: Path):
    events = [native(row) for row in rows()]
    by_customer = Counter(event["customer_id"] for event in events)
    options = StackOptions(
        data_dir=tmp_path,
        port=ANY_PORT,
        services=(API, "session-worker"),
        variables={
            "KINSTREAM_LEDGER_RETENTION_SECONDS": str(TWENTY_YEARS_SECONDS),
            "KINSTREAM_PROCESSORS": "activity",
        },
    )
    with Stack(options) as stack, ExitStack() as open_clients:
        address = stack.start()
        lanes = defaultdict(list)
        for number, event in enumerate(events):
            lanes[number // 50 % SENDERS].append(event)
        with ThreadPoolExecutor(SENDERS) as pool:
            for done in [pool.submit(send, address, lane) for lane in lanes.values()]:
                done.result()
        reader = open_clients.enter_context(Reader(address.url, address.secret_key))
        for customer_id, count in by_customer.items():
            wait_for(
                f"all events of customer {customer_id}",
                lambda c=customer_id, n=count: reader.events(c) >= n,
                seconds=600,
            )
        with ThreadPoolExecutor(SENDERS) as pool:
            sessions = [s for found in pool.map(reader.sessions, by_customer) for s in found]
            counted = dict(zip(by_customer, pool.map(reader.events, by_customer), strict=True))
    assert counted == dict(by_customer)
    sizes = [session["event_count"] for session in sessions]
    assert (len(sizes), max(sizes), sizes.count(1)) == (KNOWN_SESSIONS, KNOWN_LONGEST, KNOWN_SINGLES)
    assert sum(sizes) == len(events)
