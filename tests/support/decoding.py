"""Files through the whole of what decodes them: the sandbox, the look into them, all their renditions."""

import re
from dataclasses import dataclass
from pathlib import Path

import av
from PIL import Image

from kinstream.errors import PermanentError
from media_worker import making
from media_worker.domain.containment import ChildEnd
from media_worker.domain.options import Options
from media_worker.domain.policy import Limits, check_bytes
from media_worker.domain.recipes import Made
from media_worker.making import Order
from media_worker.orders import planned
from media_worker.rendition import discover
from media_worker.sandbox import Sandbox, plain_file

LIMITS = Limits(video_pixels=4096 * 2304, video_duration_seconds=7_200, image_pixels=100_000_000, streams=16)
MOST_BYTES = 64 * 1024**2

_PLAIN_WORDS = re.compile(r"[A-Za-z0-9 ,.:;()'-]{15,300}")
_JARGON = re.compile(r"Error|Errno|errno|Traceback|None|Invalid data|Exception|signal|SIG[A-Z]|0x|::")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a file: either it is refused for good with a reason, or everything was made of it."""

    reason: str | None
    made: list[Made]
    children: list[ChildEnd]

    @property
    def peak_bytes(self) -> int:
        return max((end.peak_bytes for end in self.children), default=0)

    @property
    def cpu_seconds(self) -> float:
        return sum(end.cpu_seconds for end in self.children)


def decode(sandbox: Sandbox, source: Path, kind: str, limits: Limits = LIMITS) -> Outcome:
    """As a worker does it, with the file's folder as its own. Every error but PermanentError is raised."""
    children: list[ChildEnd] = []
    made: list[Made] = []
    reason: str | None = None
    folder = source.parent
    try:
        check_bytes(source.stat().st_size, MOST_BYTES)
        try:
            facts = sandbox.run(making.inspect, source, kind, limits, folder=folder)
        finally:
            children += [sandbox.last_end] if sandbox.last_end else []
        order = Order(facts, planned(discover(), facts, Options()), limits, Options())
        try:
            made = sandbox.run(making.make, source, folder, order, progress=lambda _: None, folder=folder)
        finally:
            children += [sandbox.last_end] if sandbox.last_end else []
    except PermanentError as error:
        reason = str(error)
    return Outcome(reason, made, children)


def assert_sound(outcome: Outcome, folder: Path) -> None:
    """A reason that people understand, or renditions that other code opens too."""
    if outcome.reason is not None:
        assert _PLAIN_WORDS.fullmatch(outcome.reason), outcome.reason
        assert not _JARGON.search(outcome.reason), outcome.reason
        # An error that no codec turned into words of its own: that codec has something to learn.
        assert "does not foresee" not in outcome.reason
        return
    assert outcome.made
    for made in outcome.made:
        path = plain_file(folder / made.file_name, folder)
        if made.content_type.startswith("image/"):
            with Image.open(path) as picture:
                picture.load()
                assert picture.size == (made.width, made.height)
        elif made.content_type.startswith(("video/", "audio/")):
            with av.open(str(path)) as recording:
                assert len(recording.streams) > 0
        else:
            assert path.stat().st_size > 0
