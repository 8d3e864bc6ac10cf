"""Sound as AAC: one rate, one layout, without holes."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TypeAlias

from av.audio.frame import AudioFrame
from av.error import FFmpegError
from av.filter import Graph

from media_worker.domain.recordings import AudioRecipe

_LAYOUTS = {1: "mono", 2: "stereo"}
_AAC_SAMPLES = 1_024
_Key: TypeAlias = "tuple[int, str, str]"


class Sounds:
    """Brings decoded sound into the recipe's form.

    Holes become silence, so that it stays with the picture; it starts at 0 for the same reason.
    """

    def __init__(self, recipe: AudioRecipe) -> None:
        self._recipe = recipe
        self._key: _Key | None = None
        self._graph: Graph | None = None

    def feed(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        """What can be encoded now."""
        layout = _LAYOUTS.get(frame.layout.nb_channels, frame.layout.name)
        key: _Key = (frame.sample_rate, frame.format.name, layout)
        if key != self._key:  # sound may change its form on the way
            first = self._key is None
            yield from self.flush()
            tick = frame.time_base or Fraction(1, frame.sample_rate)
            self._key, self._graph = key, self._new(key, tick, first=first)
        assert self._graph is not None
        try:
            self._graph.push(frame)
        except (FFmpegError, ValueError):  # what does not fit is left out
            return
        yield from _pulled(self._graph)

    def flush(self) -> Iterator[AudioFrame]:
        """What was held back."""
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.push(None)
            yield from _pulled(graph)

    def _new(self, key: _Key, tick: Fraction, *, first: bool) -> Graph:
        rate, sample_format, layout = key
        recipe, graph = self._recipe, Graph()
        graph.threads = 1
        start = ":first_pts=0" if first else ""
        filters = [f"aresample=async=1{start}"]
        if recipe.loudness_lufs is not None:
            filters.append(f"loudnorm=I={recipe.loudness_lufs}:TP=-1.5:LRA=11")
            filters.append(f"aresample={recipe.sample_rate}")
        else:
            filters = [f"aresample={recipe.sample_rate}:async=1{start}"]
        filters.append(
            f"aformat=sample_fmts=fltp:sample_rates={recipe.sample_rate}:"
            f"channel_layouts={_LAYOUTS[recipe.channels]}"
        )
        filters.append(f"asetnsamples={_AAC_SAMPLES}:p=0")  # AMR comes in pieces of 160
        source = f"sample_rate={rate}:sample_fmt={sample_format}:channel_layout={layout}:time_base={tick}"
        nodes = [graph.add("abuffer", source)]
        for text in filters:
            name, _, value = text.partition("=")
            nodes.append(graph.add(name, value))
        nodes.append(graph.add("abuffersink"))
        graph.link_nodes(*nodes).configure()
        return graph


def _pulled(graph: Graph) -> Iterator[AudioFrame]:
    while True:
        try:
            frame = graph.pull()
        except (BlockingIOError, EOFError, FFmpegError):
            return
        assert isinstance(frame, AudioFrame)
        yield frame
