"""`python -m benchmarks.convert [SOURCE CONTAINER TARGET]`: one conversion as the media-worker does it.

Without arguments it only loads what a conversion needs, which tells what the start costs.
"""

import sys
from pathlib import Path

from media_worker.codecs import video
from media_worker.domain.recipes import recording_recipe
from media_worker.settings import MediaWorkerSettings


def main() -> None:
    """Probe, decide, convert."""
    limits = MediaWorkerSettings().limits
    if len(sys.argv) == 1:
        return
    source, container, target = sys.argv[1:]
    found = video.probe(Path(source), container, limits)
    recipe = recording_recipe(found)
    video.convert(Path(source), found, recipe, Path(target), limits=limits, progress=lambda share: None)


if __name__ == "__main__":
    main()
