"""A processor that counted wrongly is counted anew beside what is served, under traffic and kills."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kinstream import keys
from kinstream.aws import blocking_client
from kinstream.dynamo import to_item, to_key
from kinstream.generations import Generations
from kinstream.resources import TABLE_COUNTERS
from kinstream.settings import CoreSettings
from kinstream_devkit.apps import FIRST_APP
from kinstream_devkit.counters import read_counter, read_generations
from kinstream_devkit.embedded.datadir import DataDir
from kinstream_devkit.embedded.emulator import HOST, console_script
from kinstream_devkit.embedded.environment import API
from kinstream_devkit.embedded.stack import ANY_PORT, Stack, StackOptions
from kinstream_devkit.reference.events import Event, truth_of
from tests.support.sending import Reader, Sender, wait_for
from tests.support.stack import kinstream
from tests.support.workers import Deployment

WORKER = "session-worker"
PLANTED = 1_000
CONTENTS = [f"story-{number}" for number in range(7)]


def endless_events() -> Iterator[Event]:
    """A family app's likes and views, always some more."""
    random, start = Random(11), datetime.now(UTC) - timedelta(days=2)
    number = 0
    while True:
        number += 1
        kind = random.choices(["content.viewed", "content.liked", "content.unliked"], [7, 2, 1])[0]
        moment = start + timedelta(seconds=random.randrange(150_000), milliseconds=number % 1000)
        yield {
            "id": f"e-{number}",
            "type": kind,
            "customer_id": f"fam-{random.randrange(9)}",
            "device_id": "ipad",
            "occurred_at": moment.isoformat(timespec="milliseconds"),
            "data": {"content_id": random.choice(CONTENTS)},
        }


class Traffic:
    """Sends a few events, and some of them again, until the block ends."""

    def __init__(self, sender: Sender, events: Iterator[Event]) -> None:
        self._sender = sender
        self._events = events
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent: list[Event] = []

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.3):
            few = [next(self._events) for _ in range(10)]
            self._sender.send_all([*few, *self.sent[-3:]])
            self.sent += few


def shown(reader: Reader) -> dict[str, tuple[int, int]]:
    """(likes, views) of each content as the API tells them."""
    found = {content: reader.get(f"/v1/content/{content}/counters") for content in CONTENTS}
    return {content: (answer["likes"], answer["views"]) for content, answer in found.items()}


def trending(reader: Reader) -> set[str]:
    return {item["content_id"] for item in reader.get("/v1/trending")["items"]}


def meant(events: list[Event]) -> dict[str, tuple[int, int]]:
    contents = truth_of(events).contents
    return {content: (contents[content].likes, contents[content].views) for content in CONTENTS}


def command(data_dir: Path) -> list[str]:
    options = ["--archive-lag-seconds", "20", "--rate", "400", "--data-dir", str(data_dir)]
    return [str(console_script("kinstream")), "rebuild", "content", *options]


@pytest.mark.timeout(1_200)
@pytest.mark.xdist_group("stack")
def test_a_rebuild_under_traffic_and_kills_ends_exact_and_the_old_is_served_until_then(tmp_path: Path):
    options = StackOptions(
        data_dir=tmp_path,
        port=ANY_PORT,
        services=(API, WORKER),
        restart_delay_seconds=0.1,
        variables={"KINSTREAM_ARCHIVE_LINGER_SECONDS": "2"},
    )
    events = endless_events()
    before = [next(events) for _ in range(600)]
    with Stack(options) as stack:
        address = stack.start()
        data = DataDir(tmp_path)
        settings = CoreSettings(
            name_prefix=data.read_state().name_prefix,
            aws_endpoint_url=f"http://{HOST}:{data.read_state().ports['emulator']}",
        )
        deployment = Deployment(settings)
        dynamodb = blocking_client("dynamodb", settings)

        def generations() -> Generations:
            return read_generations(dynamodb, settings.names, "content")

        def all_is_counted() -> bool:
            queues = [settings.names.processor_queue(name) for name in ("content", "archive")]
            return not any(map(deployment.messages, queues))

        with (
            Sender(address.url, address.write_key) as sender,
            Reader(address.url, address.secret_key) as reader,
        ):
            sender.send_all(before)
            wait_for("all is counted and archived", all_is_counted)
            wait_for("all is shown", lambda: shown(reader) == meant(before))
            plant_an_error(dynamodb, settings)
            with Traffic(sender, events) as traffic:
                first = subprocess.Popen(command(tmp_path), stderr=subprocess.DEVNULL)
                wait_for("the archive is being read", lambda: any((tmp_path / "replays").glob("*")))
                first.send_signal(signal.SIGKILL)
                first.wait()
                os.kill(data.read_state().children[WORKER].pid, signal.SIGKILL)
                assert generations() == Generations(0, 1)
                assert shown(reader)[CONTENTS[0]][1] > PLANTED, "the old generation is served"
                done = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
                assert (done.returncode, generations()) == (0, Generations(1)), done.stderr
            sender.send_all(more := [next(events) for _ in range(100)])
            wait_for("all is counted and archived", all_is_counted)
            everything = [*before, *traffic.sent, *more]
            wait_for("what is served is exact", lambda: shown(reader) == meant(everything))
            wait_for("what trends is what is viewed", lambda: trending(reader) == set(CONTENTS))
        counted = read_counter(dynamodb, settings.names, FIRST_APP, ["content", CONTENTS[0]])
        assert counted["views"] == meant(everything)[CONTENTS[0]][1]
        assert settings.names.rebuild_queue("content") not in queues_of(settings)
        audited = kinstream("audit", "--wait", "240", "--data-dir", str(tmp_path))
        dynamodb.close()
        deployment.close()
    assert audited.returncode == 0, audited.stdout + audited.stderr


def plant_an_error(dynamodb: Any, settings: CoreSettings) -> None:
    dynamodb.update_item(
        TableName=settings.names.of(TABLE_COUNTERS),
        Key=to_key(keys.content_counters(FIRST_APP, CONTENTS[0], 0)),
        UpdateExpression="ADD #views :planted",
        ExpressionAttributeNames={"#views": "views"},
        ExpressionAttributeValues=to_item({":planted": PLANTED}),
    )


def queues_of(settings: CoreSettings) -> list[str]:
    sqs = blocking_client("sqs", settings)
    urls = sqs.list_queues().get("QueueUrls", [])
    sqs.close()
    return [url.rpartition("/")[2] for url in urls]
