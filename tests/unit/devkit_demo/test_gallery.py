"""The gallery of the report, and renditions that name other files."""

import io
from random import Random

import pytest
from PIL import Image

from kinstream_devkit.demo.findings import MediaResult, RenditionFile
from kinstream_devkit.demo.media_checks import Source, problems_of
from kinstream_devkit.demo.media_parts import cues_of, media_of, parts_of, playlists_of
from kinstream_devkit.generate.media import draw_scene
from kinstream_devkit.report.gallery import exhibits_of

VTT = b"""WEBVTT

00:00:00.000 --> 00:00:02.000
sheet.jpg?signature=1#xywh=0,0,160,120

00:02.000 --> 00:04.000
sheet.jpg?signature=1#xywh=160,0,160,120
"""
SHEET = "sheet.jpg?signature=1"
MASTER = b"""#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="sound",DEFAULT=YES,URI="sound.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=900000,AUDIO="sound"
low.m3u8?signature=2
"""
LOW = b"""#EXTM3U
#EXT-X-MAP:URI="low.mp4",BYTERANGE="800@0"
#EXTINF:4.0,
#EXT-X-BYTERANGE:5000@800
low.mp4
#EXTINF:2.5,
#EXT-X-BYTERANGE:3000@5800
low.mp4
"""


def picture(width: int, height: int, form: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    draw_scene(width, height).save(buffer, form)
    return buffer.getvalue()


def noise(size: int) -> bytes:
    return Random(size).randbytes(size)


def rendition(name: str, kind: str, content_type: str, data: bytes, width: int | None = None, **more):
    return RenditionFile(name, kind, content_type, width, width, None, data, **more)


def of_video(*renditions: RenditionFile) -> MediaResult:
    return MediaResult("clip.3gp", "video/3gpp", 1_000, state="ready", renditions=list(renditions))


def storyboard(width: int = 320) -> RenditionFile:
    sheet = Image.new("RGB", (width, 120))
    for x in (0, 160):
        sheet.paste(draw_scene(160, 120), (x, 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=95)
    return rendition("storyboard", "storyboard", "text/vtt", VTT, parts={SHEET: buffer.getvalue()})


SOURCE = Source(True, 640, 480, 4.0, has_audio=True, is_scene=True)


def problems(one: RenditionFile, source: Source = SOURCE) -> list[str]:
    return [problem for problem in problems_of(one, source) if problem]


def test_a_video_is_shown_with_its_poster_preview_and_storyboard():
    (exhibit,) = exhibits_of(
        [
            of_video(
                rendition("poster", "image", "image/jpeg", noise(900), 640),
                rendition("video", "video", "video/mp4", noise(5_000), 640),
                rendition("preview", "video", "video/mp4", noise(800), 320),
                storyboard(),
                rendition("hls", "hls", "application/vnd.apple.mpegurl", MASTER),
            )
        ]
    )
    assert all((exhibit.picture, exhibit.recording, exhibit.preview))
    assert set(exhibit.addresses) == {"poster", "video", "preview"}
    (strip,) = exhibit.strips
    assert [cue.start_seconds for cue in strip.cues] == [0, 2]
    assert strip.address.startswith("data:image/jpeg;base64,")


def test_a_photo_is_shown_large_and_in_its_other_sizes_and_kinds():
    (exhibit,) = exhibits_of(
        [
            of_video(
                rendition("image-256", "image", "image/jpeg", noise(200), 256),
                rendition("image-1280-avif", "image", "image/avif", noise(700), 1280),
                rendition("image-1280", "image", "image/jpeg", noise(900), 1280),
                rendition("square", "image", "image/jpeg", noise(300), 512),
            )
        ]
    )
    assert exhibit.picture
    assert exhibit.picture.name == "image-1280"
    assert [one.name for one in exhibit.thumbnails] == ["image-1280-avif", "square", "image-256"]


def test_what_would_make_the_page_too_large_is_left_out_and_the_poster_stays():
    items = [
        of_video(
            rendition("poster", "image", "image/jpeg", noise(900), 640),
            rendition("video", "video", "video/mp4", noise(50_000), 640),
        )
        for _ in range(4)
    ]
    exhibits = exhibits_of(items, most_bytes=20_000)
    assert [set(exhibit.addresses) for exhibit in exhibits] == [{"poster"}] * 4
    assert all(exhibit.recording is None for exhibit in exhibits)


async def test_what_playlists_and_storyboards_name_is_fetched_by_the_names_they_use():
    asked: list[str] = []

    async def download(url: str) -> bytes:
        asked.append(url)
        return LOW if ".m3u8" in url else b"media"

    assert playlists_of(MASTER) == ["low.m3u8?signature=2", "sound.m3u8"]
    assert media_of(LOW) == ["low.mp4"]
    parts = await parts_of("hls", "http://api/files/hls.m3u8?signature=0", MASTER, download)
    assert set(parts) == {"low.m3u8?signature=2", "sound.m3u8", "low.mp4"}
    assert "http://api/files/low.m3u8?signature=2" in asked
    parts = await parts_of("storyboard", "http://api/files/storyboard.vtt", VTT, download)
    assert parts == {SHEET: b"media"}
    assert asked[-1] == f"http://api/files/{SHEET}"


def test_cues_of_a_storyboard_are_read_with_hours_and_without():
    cues = cues_of(VTT.replace(b"\n", b"\r\n"))
    assert [(cue.start_seconds, cue.end_seconds, cue.x) for cue in cues] == [(0, 2, 0), (2, 4, 160)]


def test_a_storyboard_that_covers_the_video_and_stands_upright_has_no_problems():
    assert problems(storyboard()) == []


@pytest.mark.parametrize(
    ("source", "one", "said"),
    [
        (Source(True, 640, 480, 9.0, True, True), storyboard(), "does not cover"),
        (SOURCE, storyboard(width=300), "outside of its sheet"),
        (Source(True, 480, 640, 4.0, True, True), storyboard(), "not shaped"),
        (SOURCE, rendition("square", "image", "image/jpeg", picture(64, 48), 64), "is not square"),
        (
            SOURCE,
            rendition("hls", "hls", "x", MASTER, parts={"low.m3u8?signature=2": LOW, "sound.m3u8": LOW}),
            "does not last as long",
        ),
    ],
)
def test_what_is_wrong_with_a_rendition_is_said(source, one, said):
    assert any(said in problem for problem in problems(one, source))


def test_letters_that_turn_up_within_pictures_are_no_place_and_in_a_header_they_are():
    def box(name: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4, "big") + name + content

    start = box(b"ftyp", b"isom")
    within = rendition("video", "video", "video/mp4", start + box(b"mdat", b"..loci.."))
    header = rendition("video", "video", "video/mp4", start + box(b"moov", b"..loci.."))
    assert not any("place" in problem for problem in problems(within))
    assert any("a 3GPP place" in problem for problem in problems(header))
