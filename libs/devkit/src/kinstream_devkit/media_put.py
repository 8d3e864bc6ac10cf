"""Several files through the API, with word of how far they are. A file that is refused stops no other."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinstream.errors import PermanentError
from kinstream_devkit.demo.client import DemoClient
from kinstream_devkit.media_files import FINAL_STATES, send_file, wait_until_final
from kinstream_devkit.media_words import made_of, size_text, state_of
from kinstream_devkit.progress import bar_of


@dataclass(frozen=True, slots=True)
class Order:
    """What to send, for whom, and how many seconds to wait for renditions: None for not at all."""

    files: Sequence[Path]
    customer_id: str
    content_type: str | None = None
    within_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file."""

    line: str
    """For people."""
    is_good: bool


async def put_files(
    client: DemoClient, order: Order, say: Callable[[str], None], tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """Send the files one after another, while those that have gone are waited for.

    `say` hears how far all is, again and again; `tell` hears what came of each file, in order of their ends.
    """
    putting = _Putting(client, order, Board(order.files, say))

    async def one(number: int) -> Outcome:
        outcome = await putting.one(number)
        tell(outcome)
        return outcome

    return list(await asyncio.gather(*map(one, range(len(order.files)))))


class _Putting:
    def __init__(self, client: DemoClient, order: Order, board: "Board") -> None:
        self._client = client
        self._order = order
        self._board = board
        # One at a time: together they would only share the line, and all of them would be late.
        self._line = asyncio.Semaphore(1)
        self._deadline = time.monotonic() + (order.within_seconds or 0)

    async def one(self, number: int) -> Outcome:
        """What comes of the file of this number."""
        outcome = await self._through(self._order.files[number], number)
        self._board.ended(number)
        return outcome

    async def _through(self, path: Path, number: int) -> Outcome:
        try:
            async with self._line:
                media_id = await send_file(
                    self._client,
                    path,
                    self._order.customer_id,
                    content_type=self._order.content_type,
                    on_sent=lambda sent_bytes: self._board.sent(number, sent_bytes),
                )
        except (PermanentError, OSError) as error:
            return Outcome(f"{path.name}: not sent: {error}", is_good=False)
        if self._order.within_seconds is None:
            return Outcome(f"{path.name}: sent as {media_id}", is_good=True)
        try:
            left_seconds = max(0.0, self._deadline - time.monotonic())
            item = await wait_until_final(
                self._client,
                media_id,
                left_seconds,
                lambda item: self._board.worked(number, item["progress"]),
            )
        except PermanentError as error:
            return Outcome(f"{path.name}: sent as {media_id}, but {error}", is_good=False)
        return _outcome(path, media_id, item)


def _outcome(path: Path, media_id: str, item: dict[str, Any]) -> Outcome:
    start = f"{path.name}: {state_of(item)}, {media_id}"
    if item["state"] == "ready":
        return Outcome(f"{start}: {made_of(item)}", is_good=True)
    if item["state"] in FINAL_STATES:
        return Outcome(start, is_good=False)
    return Outcome(f"{start}: look again with `kinstream media show {media_id}`", is_good=False)


@dataclass
class Board:
    """How far each file is, as one line."""

    files: Sequence[Path]
    say: Callable[[str], None]
    _percents: dict[int, int] = field(default_factory=dict)
    _ended: int = 0

    def sent(self, number: int, sent_bytes: int) -> None:
        """So many bytes of this file have gone."""
        path = self.files[number]
        # Read once more after its end, a file on its way may have grown meanwhile.
        total = max(path.stat().st_size, sent_bytes, 1)
        how_far = f"{bar_of(sent_bytes, total)} {size_text(sent_bytes)} of {size_text(total)}"
        self.say(f"sending {path.name} {how_far}{self._of_all()}")

    def worked(self, number: int, percent: int) -> None:
        """So much of the work on this file is done."""
        self._percents[number] = percent
        mean = sum(self._percents.values()) // len(self._percents)
        what = self.files[number].name if len(self._percents) == 1 else f"{len(self._percents)} files"
        self.say(f"waiting for {what} {bar_of(mean, 100)} {mean} %{self._of_all()}")

    def ended(self, number: int) -> None:
        """Nothing more comes of this file."""
        self._ended += 1
        self._percents.pop(number, None)

    def _of_all(self) -> str:
        count = len(self.files)
        return f", {self._ended} of {count} files done" if count > 1 else ""
