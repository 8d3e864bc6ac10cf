"""How the work on a file is cut: all at once where it is little, a task a step where it is much. Pure."""

from collections.abc import Sequence
from typing import Any

from kinstream.resources import QUEUE_MEDIA, QUEUE_MEDIA_LARGE
from media_worker.domain.recipes import Facts, Step


def is_small(steps: Sequence[Step], bound_seconds: float) -> bool:
    """Whether one worker does all of it in one go."""
    return sum(step.cost_seconds for step in steps) <= bound_seconds


def queue_of(step: Step, bound_seconds: float) -> str:
    """Where a step waits: what is quick never stands behind what is slow."""
    return QUEUE_MEDIA if step.cost_seconds <= bound_seconds else QUEUE_MEDIA_LARGE


def source_of(facts: Facts) -> dict[str, Any]:
    """What an app is told of an original."""
    told: dict[str, Any] = {"format": facts.format.name.lower(), "bytes": facts.size_bytes}
    if facts.photo is not None:
        return told | {"width": facts.photo.width, "height": facts.photo.height}
    assert facts.recording is not None
    told["duration_seconds"] = facts.recording.duration_seconds
    video, audio = facts.recording.video, facts.recording.audio
    if video is not None:
        told |= {"width": video.width, "height": video.height, "rotation": video.rotation}
    codecs = [track.codec for track in (video, audio) if track is not None]
    return told | {"codecs": codecs}
