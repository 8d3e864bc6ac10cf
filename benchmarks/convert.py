"""`python -m benchmarks.convert SOURCE CONTAINER TARGET`: one conversion as the media-worker does it.

Prints its CPU seconds, all threads included, without Python's start: a worker starts once.
"""

import sys
import time
from pathlib import Path

from media_worker.codecs import video
from media_worker.domain.options import RecordingOptions
from media_worker.domain.recordings import h264_recipe, recording_recipe
from media_worker.settings import MediaWorkerSettings


def main() -> None:
    """Probe, decide, convert, tell."""
    limits = MediaWorkerSettings().limits
    source, container, target = sys.argv[1:]
    began = time.process_time()
    found = video.probe(Path(source), container, limits)
    recipe = recording_recipe(found)
    given = video.Source(Path(source), found, limits, Path(target).parent)
    video.convert(given, recipe, Path(target), lambda share: None, h264_recipe(RecordingOptions()))
    print(time.process_time() - began)


if __name__ == "__main__":
    main()
