"""Every acknowledged event is counted exactly once, whatever is killed while they come in."""

import os
import random
import signal
import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kinstream_devkit.embedded.datadir import DataDir
from kinstream_devkit.embedded.environment import API, EMULATOR
from kinstream_devkit.embedded.stack import ANY_PORT, Stack, StackOptions
from tests.support.sending import Reader, Sender, wait_for
from tests.support.stack import kinstream

CUSTOMERS = 20
EVENTS_A_CUSTOMER = 200
AWAY_SECONDS = 10


def events_of(customer: int) -> list[dict]:
    start = datetime.now(UTC) - timedelta(days=1)
    return [
        {
            "id": f"event-{number}",
            "type": "screen.viewed",
            "customer_id": f"fam-{customer}",
            "device_id": f"ipad-{number % 2}",
            "occurred_at": (start + timedelta(seconds=20 * number)).isoformat(),
        }
        for number in range(EVENTS_A_CUSTOMER)
    ]


class Traffic:
    """Sends the same events twice, shuffled, from a thread, slowly enough to be hit by faults."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        everything = [event for customer in range(CUSTOMERS) for event in events_of(customer)]
        self._events = random.Random(7).sample(everything * 2, 2 * len(everything))
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._failure:
            raise self._failure

    @property
    def refusals(self) -> int:
        return self._sender.refusals

    @property
    def sent(self) -> int:
        return self._sender.acknowledged

    @property
    def total(self) -> int:
        return len(self._events)

    def _run(self) -> None:
        try:
            for start in range(0, len(self._events), 20):
                self._sender.send_all(self._events[start : start + 20])
                threading.Event().wait(0.02)
        except BaseException as failure:  # noqa: BLE001 - raised again in the test's own thread
            self._failure = failure


def kill(data: DataDir, name: str, how: signal.Signals) -> None:
    """End a child of the stack and wait until another runs in its place."""
    before = data.read_state().children[name].pid
    os.kill(before, how)
    wait_for(f"{name} runs again", lambda: data.read_state().children[name].pid != before)


@pytest.mark.timeout(900)
@pytest.mark.xdist_group("stack")
def test_kills_of_every_service_and_a_restart_of_the_emulator_lose_and_repeat_nothing(tmp_path: Path):
    options = StackOptions(
        data_dir=tmp_path,
        port=ANY_PORT,
        services=(API, "session-worker"),
        restart_delay_seconds=AWAY_SECONDS,
    )
    said: list[str] = []
    with Stack(options) as stack, ExitStack() as open_clients:
        address = stack.start(said.append)
        data = DataDir(tmp_path)
        reader = open_clients.enter_context(Reader(address.url, address.secret_key))
        with Sender(address.url, address.write_key) as sender, Traffic(sender) as traffic:
            for number, name in enumerate((API, "session-worker"), 1):
                wait_for("traffic", lambda n=number: traffic.sent > n * traffic.total // 4)
                kill(data, name, signal.SIGKILL)
            wait_for("traffic", lambda: traffic.sent > 3 * traffic.total // 4)
            kill(data, EMULATOR, signal.SIGTERM)
        assert traffic.refusals
        for customer in range(CUSTOMERS):
            wait_for(
                f"all events of fam-{customer}",
                lambda c=customer: reader.events(f"fam-{c}") >= EVENTS_A_CUSTOMER,
            )
        counted = {customer: reader.events(f"fam-{customer}") for customer in range(CUSTOMERS)}
        in_sessions = {
            customer: sum(session["event_count"] for session in reader.sessions(f"fam-{customer}"))
            for customer in range(CUSTOMERS)
        }
        audited = kinstream("audit", "--data-dir", str(tmp_path))
    assert counted == dict.fromkeys(range(CUSTOMERS), EVENTS_A_CUSTOMER)
    assert in_sessions == counted
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert f"{CUSTOMERS * EVENTS_A_CUSTOMER:,} events of {CUSTOMERS} customers" in audited.stdout
