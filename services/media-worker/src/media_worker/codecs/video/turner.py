"""Pictures the right way up."""

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

_TURNS = {90: ("transpose=clock",), 180: ("hflip", "vflip"), 270: ("transpose=cclock",)}


class Turner:
    """Turns pictures of one size clockwise by quarters."""

    def __init__(self, degrees: int) -> None:
        self._filters = _TURNS.get(degrees, ())
        self._graph: Graph | None = None

    def turn(self, frame: VideoFrame) -> VideoFrame:
        if not self._filters:
            return frame
        if self._graph is None:
            self._graph = Graph()
            nodes = [
                self._graph.add_buffer(
                    width=frame.width,
                    height=frame.height,
                    format=frame.format,
                    time_base=frame.time_base or Fraction(1, 90_000),
                )
            ]
            for text in self._filters:
                name, _, value = text.partition("=")
                nodes.append(self._graph.add(name, value or None))
            nodes.append(self._graph.add("buffersink"))
            self._graph.link_nodes(*nodes).configure()
        self._graph.vpush(frame)
        return self._graph.vpull()
