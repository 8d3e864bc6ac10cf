"""Playlists and WebVTT with URLs for file names, against a plain reference that builds them from parts."""

from hypothesis import given
from hypothesis import strategies as st

from ingest_api.media_references import rewrite_cues, rewrite_playlist, rewritten

KNOWN = {"hls-720.m3u8", "hls-720.mp4", "hls-audio.m3u8", "storyboard.jpg"}


def link(name: str) -> str | None:
    return f"https://files.example/{name}?signature=1&x=2" if name in KNOWN else None


def linked(name: str) -> str:
    return link(name) or name


names = st.sampled_from(sorted(KNOWN)) | st.sampled_from(
    [
        "other.mp4",
        "../hls-720.mp4",
        "https://elsewhere.example/hls-720.mp4",
        "HLS-720.mp4",
        "data:,x",
        "/hls-720.mp4",
    ]
)
ends = st.sampled_from(["\n", "\r\n"])
tags = st.sampled_from(
    ["#EXTM3U", "#EXT-X-VERSION:7", "#EXTINF:6.006,", "#EXT-X-BYTERANGE:1000@0", "# hls-720.mp4", "#", "",
     '# URI="hls-720.mp4"', '#EXTINF:6,hls-720.mp4', "#EXT-X-ENDLIST"]
)  # fmt: skip
uris = st.builds(
    lambda tag, name, more: (
        f'#{tag}:{more}URI="{name}",BANDWIDTH=5',
        f'#{tag}:{more}URI="{linked(name)}",BANDWIDTH=5',
    ),
    st.sampled_from(["EXT-X-MAP", "EXT-X-MEDIA", "EXT-X-I-FRAME-STREAM-INF"]),
    names,
    st.sampled_from(["", 'TYPE=AUDIO,NAME="hls-720.mp4",']),
)
playlist_lines = st.lists(
    tags.map(lambda line: (line, line)) | names.map(lambda name: (name, linked(name))) | uris, max_size=20
)


@given(playlist_lines, ends)
def test_every_reference_of_a_playlist_is_linked_and_nothing_else(lines, end):
    before, after = (end.join(line[side] for line in lines) for side in (0, 1))
    assert rewrite_playlist(before, link) == after
    assert rewritten("hls.m3u8", before, link) == after


fragments = st.sampled_from(["", "#xywh=0,0,160,90", "#xywh=160,90,160,90"])
cues = st.builds(
    lambda number, name, fragment: (
        [number, "00:00:00.000 --> 00:00:05.000", name + fragment, ""],
        [number, "00:00:00.000 --> 00:00:05.000", linked(name) + fragment, ""],
    ),
    st.sampled_from(["1", "hls-720.mp4"]),
    names,
    fragments,
)
notes = st.sampled_from(["NOTE storyboard.jpg", "storyboard.jpg"]).map(lambda line: ([line, ""], [line, ""]))


@given(st.lists(cues | notes, max_size=12), ends)
def test_every_payload_of_a_cue_is_linked_and_nothing_else(blocks, end):
    head = ["WEBVTT", ""]
    before, after = (end.join(sum((block[side] for block in blocks), head)) for side in (0, 1))
    assert rewrite_cues(before, link) == after
    assert rewritten("storyboard.vtt", before, link) == after


@given(st.text())
def test_any_text_comes_through_and_without_known_names_unchanged(text):
    assert rewrite_playlist(text, lambda _: None) == text
    assert rewrite_cues(text, lambda _: None) == text
    rewrite_playlist(text, link)
    rewrite_cues(text, link)
