"""`python -m benchmarks.convert SOURCE CONTAINER TARGET`: one conversion as the media-worker does it.

Prints its CPU seconds, all threads included, without Python's start: a worker starts once.
"""

import sys
import time
from pathlib import Path

from media_worker.codecs import video
from media_worker.domain.recordings import recording_recipe
from media_worker.settings import MediaWorkerSettings


def main() -> None:
    """Probe, decide, convert, tell."""
    limits = MediaWorkerSettings().limits
    source, container, target = sys.argv[1:]
    began = time.process_time()
    found = video.probe(Path(source), container, limits)
    recipe = recording_recipe(found)
    video.convert(Path(source), found, recipe, Path(target), limits=limits, progress=lambda share: None)
    print(time.process_time() - began)


if __name__ == "__main__":
    main()
