"""`python -m benchmarks.convert encode|copy SOURCE CONTAINER TARGET`: one conversion as a worker does it.

Prints its CPU seconds, all threads included, without Python's start: a worker starts once.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from media_worker.codecs import video
from media_worker.domain.options import RecordingOptions
from media_worker.domain.policy import Probe
from media_worker.domain.recordings import Recipe, h264_recipe, recording_recipe
from media_worker.settings import MediaWorkerSettings


def recipe_of(found: Probe, mode: str) -> Recipe:
    """As the worker decides, but that streams which could be copied are encoded where that is measured."""
    recipe = recording_recipe(found)
    assert recipe.video
    assert recipe.audio
    if mode == "copy":
        assert recipe.video.copy
        return recipe
    return replace(recipe, video=replace(recipe.video, copy=False), audio=replace(recipe.audio, copy=False))


def main() -> None:
    """Probe, decide, convert, tell."""
    limits = MediaWorkerSettings().limits
    mode, source, container, target = sys.argv[1:]
    began = time.process_time()
    found = video.probe(Path(source), container, limits)
    given = video.Source(Path(source), found, limits, Path(target).parent)
    h264 = h264_recipe(RecordingOptions())
    video.convert(given, recipe_of(found, mode), Path(target), lambda share: None, h264)
    print(time.process_time() - began)


if __name__ == "__main__":
    main()
