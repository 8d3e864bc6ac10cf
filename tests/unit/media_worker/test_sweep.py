"""What the sweep does with steps that nobody works on any more."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from kinstream.catalog import MAIN, MediaRepository, NewItem, State, Task, WorkRepository, migrate
from kinstream.catalog.database import create_engine
from kinstream.resources import QUEUE_MEDIA
from media_worker.announcing import Announcer
from media_worker.dispatcher import Dispatcher
from media_worker.settings import MediaWorkerSettings

TASK = Task("demo", "m1", MAIN, QUEUE_MEDIA)
HOLD_SECONDS = 120
SETTINGS = MediaWorkerSettings(media_max_receives=3, media_visibility_timeout_seconds=HOLD_SECONDS)


class Deployment:
    """A catalog, a clock that is set, and a dispatcher whose tasks are lost with their workers."""

    def __init__(self, url: str) -> None:
        # Far ahead: what ends here is not old enough for the sweep to announce it.
        self.now_ms = 2**45
        engine = create_engine(url)
        self.api = MediaRepository(engine, lambda: self.now_ms)
        self.work = WorkRepository(engine, lambda: self.now_ms)
        self.sent: list[Task] = []
        announcer = Announcer(None, "", self.work, None)  # type: ignore[arg-type]  # says nothing here
        self._dispatcher = Dispatcher(
            SETTINGS,
            sqs=None,
            queue_url="",
            catalog=self.work,
            send_task=self._send,
            announcer=announcer,
        )

    def _send(self, _: UUID, task: Task) -> None:
        self.sent.append(task)

    def lose(self, message: str) -> list[Task]:
        """Claim the step under a message and die; what the sweep sends later."""
        self.sent = []
        assert self.work.claim("demo", "m1", MAIN, message, HOLD_SECONDS)
        self.now_ms += 3 * HOLD_SECONDS * 1_000
        self._dispatcher.sweep()
        self.now_ms += 1
        return self.sent

    @property
    def state(self) -> State:
        item = self.api.get("demo", "m1")
        assert item
        return item.state


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    url = f"sqlite:///{tmp_path}/catalog.sqlite3"
    migrate(url)
    made = Deployment(url)
    made.api.declare(NewItem("demo", "m1", "fam-1", "image", "image/jpeg", 9))
    made.work.mark_uploaded("demo", "m1", 9)
    yield made
    made.api.close()


def test_step_is_sent_again_until_it_was_lost_too_often_and_as_often_when_brought_back(
    deployment: Deployment,
) -> None:
    for life in ("first", "second"):
        assert [deployment.lose(f"{life}-{number}") for number in range(2)] == [[TASK], [TASK]]
        assert deployment.state == State.PROCESSING
        assert deployment.lose(f"{life}-3") == []
        assert deployment.state == State.FAILED


def test_message_that_was_on_its_way_when_its_step_failed_does_not_begin_it_anew(
    deployment: Deployment,
) -> None:
    sent_at_ms = deployment.now_ms
    for number in range(3):
        deployment.lose(f"m-{number}")
    assert deployment.work.claim("demo", "m1", MAIN, "late", HOLD_SECONDS, sent_at_ms=sent_at_ms) is None
    assert deployment.state == State.FAILED
