"""Every uploaded file is worked on to its end, once, whatever is killed, stopped or cut off meanwhile.

Two media-workers, which reach AWS and Redis over networks that can be cut. `KINSTREAM_FAULTS=long` makes it
four runs that come to 700 files and 40 faults.
"""

import itertools
import json
import os
import signal
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Event

import psutil
import pytest
import sqlalchemy as sa

from kinstream.aws import blocking_client
from kinstream.catalog.models import MediaItem, MediaStep
from kinstream.resources import (
    BUCKET_DERIVED,
    DEAD_LETTER_SUFFIX,
    QUEUE_MEDIA,
    QUEUE_MEDIA_LARGE,
    QUEUE_UPLOADS,
    TOPIC_MEDIA,
)
from kinstream_devkit.generate.media import write_phone_video, write_photo
from tests.support.media_samples import write_slow_video
from tests.support.media_stack import FINAL, MediaStack, end, until
from tests.support.network import Proxy, Trouble, proxy

LONG = os.environ.get("KINSTREAM_FAULTS") == "long"
WORKERS = 2
UPLOADING_THREADS = 4
HOLD_SECONDS = 8
"""Not two minutes as in production: how soon another worker takes over from one that was killed."""
READY_SECONDS = 600
ANNOUNCED_SECONDS = 240
"""What a killed worker did not announce, a sweep does half a minute later."""
VARIABLES = {
    "KINSTREAM_MEDIA_VISIBILITY_TIMEOUT_SECONDS": str(HOLD_SECONDS),
    "KINSTREAM_MEDIA_SWEEP_INTERVAL_SECONDS": "2",
    "KINSTREAM_SHUTDOWN_GRACE_SECONDS": "4",
    # So that videos are cut into steps, which several workers do.
    "KINSTREAM_MEDIA_SMALL_COST_SECONDS": "0.5",
}
CUTS: dict[str, tuple[Trouble, float]] = {
    "AWS is gone": ("down", 5.0),
    "AWS answers nothing": ("blackhole", 3.0),
    "AWS breaks connections": ("reset", 2.0),
    "Redis is gone": ("down", 3.0),
}
"""What is cut, how, and for how many seconds."""
KILLS = ("a worker is killed", "a child is killed", "a worker is stopped")


@dataclass(frozen=True)
class Extent:
    """How much is sent and how much goes wrong meanwhile."""

    files: int
    faults: int

    def troubles(self, random: Random) -> list[str]:
        """All of it, in the order in which it happens; two kills for one cut."""
        cuts, kills = itertools.cycle(CUTS), itertools.cycle(KILLS)
        found = [next(cuts) if number % 3 == 2 else next(kills) for number in range(self.faults)]
        return random.sample(found, len(found))


EXTENT = Extent(175, 10) if LONG else Extent(30, 4)
SEEDS = (1, 2, 3, 4) if LONG else (1,)


@dataclass
class Fleet:
    """Workers that are started again whatever ends them."""

    stack: MediaStack
    variables: Mapping[str, str]
    folder: Path
    random: Random
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, number: int) -> subprocess.Popen[bytes]:
        """The worker of this number, on its own folder as on its own machine."""
        work = {"KINSTREAM_MEDIA_WORK_DIR": str(self.work_dir(number))}
        return self.stack.start_worker(**self.variables, **work)

    def start_all(self) -> None:
        """All of them."""
        self.processes = [self.start(number) for number in range(WORKERS)]

    def work_dir(self, number: int) -> Path:
        """Where it keeps files while it works on them."""
        return self.folder / f"work-{number}"

    def disturb(self, what: str) -> None:
        """End one of the workers, or one of its children, and see that there is a worker again."""
        number = self.random.randrange(WORKERS)
        process = self.processes[number]
        if what == "a child is killed":
            # Its main process is to go on: who kills children kills them one at a time.
            children = psutil.Process(process.pid).children(recursive=True)
            with suppress(ProcessLookupError):
                os.kill(self.random.choice(children).pid, signal.SIGKILL)
            return
        if what == "a worker is killed":
            process.kill()
            process.wait()
        else:
            process.terminate()
            process.wait(180)
            assert process.returncode == 0
        self.processes[number] = self.start(number)

    def stop(self) -> None:
        """End all of them as a deployment does."""
        for process in self.processes:
            end(process)


class Heard:
    """What is announced of media, as somebody hears it who subscribed."""

    def __init__(self, stack: MediaStack) -> None:
        names = stack.settings.names
        self._sqs = stack.sqs
        self._url = self._sqs.create_queue(QueueName=names.of("heard"))["QueueUrl"]
        sns = blocking_client("sns", stack.settings)
        sns.subscribe(
            TopicArn=names.topic_arn(TOPIC_MEDIA),
            Protocol="sqs",
            Endpoint=names.queue_arn(names.of("heard")),
            Attributes={"RawMessageDelivery": "true"},
        )
        sns.close()
        self.ids: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        """How often each announcement came, by its id, by item and type."""

    def listen(self) -> None:
        """Take what has come."""
        while messages := self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages"):
            for message in messages:
                said = json.loads(message["Body"])
                self.ids[said["media_id"], said["type"]][said["id"]] += 1
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])


@dataclass
class Scene:
    """What can be disturbed."""

    stack: MediaStack
    fleet: Fleet
    heard: Heard
    aws: Proxy
    redis: Proxy

    def disturb(self, what: str) -> None:
        """One trouble, until it is over."""
        if what not in CUTS:
            # A cut network would keep the next worker from starting.
            self.fleet.disturb(what)
            return
        network = self.redis if what.startswith("Redis") else self.aws
        trouble, seconds = CUTS[what]
        network.cut(trouble)
        Event().wait(seconds)
        network.mend()

    def open_files(self) -> int:
        """How many files are neither ready nor failed."""
        return self._ask(sa.select(sa.func.count()).where(MediaItem.state.not_in(FINAL)))

    def most_tries(self) -> int:
        """How often the step was begun that was begun most often."""
        return self._ask(sa.select(sa.func.max(MediaStep.attempt)))

    def _ask(self, query: sa.Select[tuple[int]]) -> int:
        engine = sa.create_engine(self.stack.settings.catalog_url.get_secret_value())
        with engine.connect() as connection:
            found = connection.scalar(query)
        engine.dispose()
        return found or 0

    def stored(self, media_id: str) -> list[tuple[str, str]]:
        """What lies in storage for an item, of whatever attempt: files, each with the hash of its content."""
        bucket = self.stack.settings.names.of(BUCKET_DERIVED)
        found = self.stack.s3.list_objects_v2(Bucket=bucket, Prefix=f"demo/{media_id}/")
        return sorted((Path(one["Key"]).name, one["ETag"]) for one in found.get("Contents", []))


@pytest.fixture
def scene(tmp_path: Path, endpoint: str, redis_url: str, catalog_url: str) -> Iterator[Scene]:
    with ExitStack() as exits:
        aws = exits.enter_context(proxy(endpoint))
        redis = exits.enter_context(proxy(redis_url))
        stack = MediaStack(tmp_path, endpoint, catalog_url)
        exits.callback(stack.close)
        heard = Heard(stack)
        networks = {
            "KINSTREAM_AWS_ENDPOINT_URL": aws.url,
            "KINSTREAM_REDIS_URL": redis.url.replace("http://", "redis://") + "/0",
        }
        fleet = Fleet(stack, VARIABLES | networks, tmp_path, Random(5))
        exits.callback(fleet.stop)
        fleet.start_all()
        yield Scene(stack, fleet, heard, aws, redis)


def write_sources(folder: Path) -> list[tuple[Path, str, int]]:
    """Files to send, each with its type and how many of a hundred are of it."""
    wide, tall = folder / "wide.jpg", folder / "tall.jpg"
    clip, slow = folder / "clip.3gp", folder / "slow.3gp"
    write_photo(wide, 1600, 1200, orientation=1)
    write_photo(tall, 900, 1600, orientation=6)
    write_phone_video(clip, seconds=1, size="qcif")
    write_slow_video(slow, frames=20)
    return [
        (wide, "image/jpeg", 45),
        (tall, "image/jpeg", 45),
        (clip, "video/3gpp", 7),
        (slow, "video/3gpp", 3),
    ]


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_stops_and_cuts_while_files_come_in_lose_and_repeat_nothing(
    scene: Scene, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    sources = write_sources(tmp_path)
    stack = scene.stack
    # One of each while nothing goes wrong: what must come out of every other one.
    first = {path: stack.upload(path, content_type) for path, content_type, _ in sources}
    for media_id in first.values():
        assert stack.wait(media_id, *FINAL)["state"] == "ready"
    expected = {path: scene.stored(media_id) for path, media_id in first.items()}

    shares = [share for *_, share in sources]
    files = random.choices(sources, shares, k=EXTENT.files)
    sent: dict[str, Path] = {}

    def send(source: tuple[Path, str, int]) -> None:
        path, content_type, _ = source
        sent[stack.upload(path, content_type)] = path

    troubles = EXTENT.troubles(random)
    with ThreadPoolExecutor(UPLOADING_THREADS) as pool:
        for number, trouble in enumerate(troubles):
            part = files[number * len(files) // len(troubles) : (number + 1) * len(files) // len(troubles)]
            list(pool.map(send, part))
            scene.disturb(trouble)
    assert len(sent) == EXTENT.files

    until(lambda: scene.open_files() == 0, "every file to be ready or failed", READY_SECONDS)
    items = {media_id: stack.read(media_id) for media_id in sent}
    assert Counter(item["state"] for item in items.values()) == {"ready": len(sent)}
    names = {path: renditions_of(stack.read(media_id)) for path, media_id in first.items()}
    for media_id, path in sent.items():
        assert renditions_of(items[media_id]) == names[path], path.name
    check_announced(scene, [*first.values(), *sent])
    check_left_behind(scene)
    for media_id, path in sent.items():
        assert scene.stored(media_id) == expected[path], path.name
    # Of four troubles all may hit what is idle; of ten, with this many files, none ever did.
    assert scene.most_tries() > 1 or not LONG, "nothing of all that went wrong was felt"


def renditions_of(item: dict) -> list[tuple]:
    """What the API tells of renditions, but for URLs."""
    return [(made["name"], made["width"], made["height"], made["bytes"]) for made in item["renditions"]]


def check_announced(scene: Scene, media_ids: list[str]) -> None:
    """Each was announced, as ready, under one identity: what came twice can be dropped by it."""

    def all_heard() -> bool:
        scene.heard.listen()
        return len(scene.heard.ids) >= len(media_ids)

    until(all_heard, "every file to be announced", ANNOUNCED_SECONDS)
    assert set(scene.heard.ids) == {(media_id, "media.ready") for media_id in media_ids}
    assert {len(ids) for ids in scene.heard.ids.values()} == {1}


def check_left_behind(scene: Scene) -> None:
    """No message, no dead letter and no file is left."""
    stack = scene.stack
    stack.wait_until_idle()
    scene.fleet.stop()
    for queue in (QUEUE_UPLOADS, QUEUE_MEDIA, QUEUE_MEDIA_LARGE):
        assert stack.depth(stack.settings.names.of(queue) + DEAD_LETTER_SUFFIX) == 0
    left = [path for number in range(WORKERS) for path in scene.fleet.work_dir(number).iterdir()]
    assert left == []
