"""Many small pictures on one."""

import math
from collections.abc import Sequence
from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

from media_worker.codecs.video.stills import JPEG_FORMAT


def sheet(tiles: Sequence[VideoFrame], columns: int) -> VideoFrame:
    """Tiles of one size, row by row."""
    first = tiles[0]
    columns = min(columns, len(tiles))
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        f"video_size={first.width}x{first.height}:pix_fmt={JPEG_FORMAT}:time_base=1/1:"
        f"colorspace={int(first.colorspace)}:range={int(first.color_range)}",
    )
    tile = graph.add("tile", f"layout={columns}x{math.ceil(len(tiles) / columns)}")
    graph.link_nodes(source, tile, graph.add("buffersink")).configure()
    for number, frame in enumerate(tiles):
        frame.pts, frame.time_base = number, Fraction(1)
        graph.vpush(frame)
    graph.vpush(None)
    return graph.vpull()
