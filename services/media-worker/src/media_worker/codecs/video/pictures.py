"""Pictures as they are shown: deinterlaced, in size, in the colours of usual screens, right way up."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeAlias

from av.error import FFmpegError
from av.filter import Graph
from av.video.frame import VideoFrame

from media_worker.domain.recordings import PictureRecipe
from media_worker.domain.tones import cube

_TURNS = {90: ("transpose=clock",), 180: ("hflip", "vflip"), 270: ("transpose=cclock",)}
_FULL_RANGE = 2
_Key: TypeAlias = "tuple[int, int, str, int, int, str]"


class Pictures:
    """Brings decoded pictures into the recipe's form. One that has it already is passed on untouched."""

    def __init__(self, recipe: PictureRecipe, scratch: Path, pixel_format: str = "yuv420p") -> None:
        self._recipe = recipe
        self._scratch = scratch
        self._format = pixel_format
        self._key: _Key | None = None
        self._graph: Graph | None = None

    def feed(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """What can be shown now: one picture as a rule."""
        key: _Key = (
            *(frame.width, frame.height, frame.format.name),
            *(int(frame.colorspace), int(frame.color_range), str(frame.time_base)),
        )
        if key != self._key:  # a recording may change its size on the way
            yield from self.flush()
            self._key = key
            self._graph = None if self._is_ready(frame) else self._new(key, frame)
        if self._graph is None:
            yield frame
            return
        self._graph.vpush(frame)
        yield from self._pulled(self._graph)

    def flush(self) -> Iterator[VideoFrame]:
        """What was held back."""
        graph, self._graph, self._key = self._graph, None, None
        if graph is not None:
            graph.vpush(None)
            yield from self._pulled(graph)

    def one(self, frame: VideoFrame) -> VideoFrame:
        """A single picture, none of the ones before or after it."""
        made = list(self.feed(frame))
        if not made or self._recipe.deinterlace:  # which looks at neighbours
            made += self.flush()
        return made[0]

    def _new(self, key: _Key, frame: VideoFrame) -> Graph:
        if self._recipe.tone_map is None:
            return _graph(key, self._filters(frame, None))
        # The table is read as the graph is built, and not needed after.
        with NamedTemporaryFile("w", dir=self._scratch, suffix=".cube") as table:
            table.write(cube(self._recipe.tone_map))
            table.flush()
            return _graph(key, self._filters(frame, table.name))

    def _pulled(self, graph: Graph) -> Iterator[VideoFrame]:
        while True:
            try:
                yield graph.vpull()
            except (BlockingIOError, EOFError, FFmpegError):
                return

    def _is_ready(self, frame: VideoFrame) -> bool:
        recipe = self._recipe
        return (
            (frame.width, frame.height, frame.format.name) == (recipe.width, recipe.height, self._format)
            and not (recipe.turn_degrees or recipe.deinterlace or recipe.tone_map is not None)
            and int(frame.color_range) != _FULL_RANGE
        )

    def _filters(self, frame: VideoFrame, table: str | None) -> list[str]:
        recipe = self._recipe
        width, height = recipe.width, recipe.height
        if recipe.turn_degrees % 180:
            width, height = height, width
        still = self._format.startswith("yuvj")  # JPEG's colours: BT.601, full range
        size, flags = f"{width}:{height}:flags=bicubic", f"out_range={'pc' if still else 'tv'}"
        is_rgb = table is not None or not frame.format.name.startswith(("yuv", "nv", "p0", "gray"))
        if still:
            flags += ":out_color_matrix=bt601"
        elif is_rgb:
            flags += ":out_color_matrix=bt709"
        toned = []
        if table is not None:
            toned = [
                f"scale={size}:in_color_matrix=bt2020",
                "format=gbrp10le",
                f"lut3d=file={_escaped(table)}",
                "setparams=color_primaries=bt709:color_trc=bt709",
            ]
            size = "iw:ih"
        return [
            *(["yadif=deint=interlaced"] if recipe.deinterlace else []),
            *toned,
            f"scale={size}:{flags}",
            f"format={self._format}",
            *_TURNS.get(recipe.turn_degrees, ()),
        ]


def _escaped(path: str) -> str:
    for special in "\\':":
        path = path.replace(special, f"\\{special}")
    return path


def _graph(key: _Key, filters: list[str]) -> Graph:
    width, height, pixel_format, matrix, color_range, tick = key
    graph = Graph()
    graph.threads = 1
    source = (
        f"video_size={width}x{height}:pix_fmt={pixel_format}:time_base={tick}:"
        f"colorspace={matrix}:range={color_range}"
    )
    nodes = [graph.add("buffer", source)]
    for text in filters:
        name, _, value = text.partition("=")
        nodes.append(graph.add(name, value or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
