"""Text files that name other files, with each name made a URL: HLS playlists and WebVTT. Pure.

The worker writes bare file names, which nobody could fetch: what lies in the bucket is private. Only names
that `link` knows are changed, so that nothing is ever pointed elsewhere by what stood in a file.
"""

import re
from collections.abc import Callable

Link = Callable[[str], str | None]
"""The URL of a file of the same item; None for a name that the item has not."""

TEXT_TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".vtt": "text/vtt"}
"""Endings of the files that name others, and how they are sent."""

_URI = re.compile(r'(URI=")([^"]*)(")')
_LINE = re.compile(r"(\r\n|\n|\r)")
_CUE = "-->"


def rewritten(file_name: str, text: str, link: Link) -> str:
    """`text` of a file of that name with its references linked; any other text as it is."""
    if file_name.endswith(".m3u8"):
        return rewrite_playlist(text, link)
    return rewrite_cues(text, link) if file_name.endswith(".vtt") else text


def rewrite_playlist(text: str, link: Link) -> str:
    """An HLS playlist: lines that are no tags and no comments, and every `URI="..."` of a tag."""

    def changed(line: str) -> str:
        if line.startswith("#EXT"):
            return _URI.sub(lambda found: found[1] + _linked(found[2], link) + found[3], line)
        return line if line.startswith("#") else _linked(line, link)

    return _by_line(text, changed)


def rewrite_cues(text: str, link: Link) -> str:
    """WebVTT: the lines of each cue's payload that are a file's name, with the `#xywh=` behind it kept."""
    is_payload = False

    def changed(line: str) -> str:
        nonlocal is_payload
        if _CUE in line:
            is_payload = True
        elif not line.strip():
            is_payload = False
        elif is_payload:
            return _linked(line, link)
        return line

    return _by_line(text, changed)


def _by_line(text: str, changed: Callable[[str], str]) -> str:
    # Lines and what ends them take turns.
    parts = _LINE.split(text)
    return "".join(changed(part) if number % 2 == 0 else part for number, part in enumerate(parts))


def _linked(reference: str, link: Link) -> str:
    name, mark, fragment = reference.strip().partition("#")
    url = link(name) if name else None
    return reference if url is None else f"{url}{mark}{fragment}"
