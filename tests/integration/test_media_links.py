"""What an app shows of a ready item: its manifest, playlists with URLs in them, and pictures of any size."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx
import pytest

from kinstream.catalog import Rendition, open_catalog, open_work
from kinstream.resources import BUCKET_DERIVED, QUEUE_UPLOADS
from tests.support.ingest import App, Service
from tests.support.media_items import WorkersDouble
from tests.support.stack import eventually

CUSTOMER = "fam/1"
FILM = bytes(range(256)) * 4
FILM_SECONDS = 7_200.0
MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",URI="hls-audio.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=5
hls-720.m3u8
"""
RUNG = """#EXTM3U
#EXT-X-MAP:URI="hls-720.mp4",BYTERANGE="9@0"
#EXTINF:6,
#EXT-X-BYTERANGE:16@256
hls-720.mp4
"""
CUES = "WEBVTT\n\n00:00:00.000 --> 00:00:05.000\nstoryboard.jpg#xywh=0,0,160,90\n"
HLS = "application/vnd.apple.mpegurl"
VIDEO: list[tuple[Rendition, bytes]] = [
    (
        Rendition(
            "video", "video", "video.mp4", "video/mp4", 0, 1280, 720, FILM_SECONDS, "avc1.64001f,mp4a.40.2"
        ),
        FILM,
    ),
    (
        Rendition("poster", "image", "poster.jpg", "image/jpeg", 0, 1280, 720, detail={"thumbhash": "aGk="}),
        b"p",
    ),
    (Rendition("hls-720", "hls-playlist", "hls-720.m3u8", HLS, 0), RUNG.encode()),
    (Rendition("hls-audio", "hls-playlist", "hls-audio.m3u8", HLS, 0), RUNG.encode()),
    (Rendition("hls-720-media", "hls-media", "hls-720.mp4", "video/mp4", 0), FILM),
    (Rendition("hls", "hls", "hls.m3u8", HLS, 0, detail={"rungs": [720]}), MASTER.encode()),
    (Rendition("storyboard-sprite", "storyboard-sprite", "storyboard.jpg", "image/jpeg", 0), b"sprite"),
    (Rendition("storyboard", "storyboard", "storyboard.vtt", "text/vtt", 0), CUES.encode()),
]
FACTS = {
    "format": "mov",
    "bytes": 9,
    "width": 1280,
    "height": 720,
    "duration_seconds": FILM_SECONDS,
    "codecs": ["h264"],
}


@pytest.fixture(scope="module")
def worker(service: Service, catalog_url: str) -> Iterator[WorkersDouble]:
    catalog, work = open_catalog(catalog_url), open_work(catalog_url)
    yield WorkersDouble(service, catalog, work)
    catalog.close()
    work.close()


@pytest.fixture
def anyone(service: Service) -> Iterator[httpx.Client]:
    """Somebody without a key."""
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
        yield client


def expires(url: str) -> int:
    """When a URL of ours does, in seconds since 1970."""
    return int(dict(parse_qsl(urlsplit(url).query))["expires"])


def orders(service: Service) -> list[dict[str, str]]:
    """What was put into the queue of uploads, taken out of it."""
    sqs = service.aws("sqs")
    url = sqs.get_queue_url(QueueName=service.settings.names.of(QUEUE_UPLOADS))["QueueUrl"]
    found: list[dict[str, str]] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get(
        "Messages"
    ):
        for message in messages:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def image_url(app: App, media_id: str, **wish: object) -> str:
    asked = app.reader.post(f"/v1/media/{media_id}/image-urls", json={"images": [wish]})
    assert asked.status_code == 200, asked.text
    return asked.json()["images"][0]["url"]


def test_the_manifest_tells_all_that_was_made_and_nothing_that_is_of_use_to_nobody(app, worker):
    media_id = worker.ready(app.name, CUSTOMER, "video", FACTS, VIDEO)
    told = app.reader.get(f"/v1/media/{media_id}").json()
    assert (told["state"], told["progress"], told["placeholder"], told["missing"]) == (
        "ready",
        100,
        "aGk=",
        [],
    )
    assert told["source"] == FACTS
    by_name = {made["name"]: made for made in told["renditions"]}
    assert list(by_name) == ["video", "poster", "hls", "storyboard"]
    assert by_name["video"]["codecs"] == "avc1.64001f,mp4a.40.2"
    assert by_name["hls"]["detail"] == {"rungs": [720]}
    listed = app.reader.get("/v1/media", params={"customer_id": CUSTOMER}).json()["media"][0]
    for answer in (told, listed):
        for made in answer["renditions"]:
            # Signed anew each second.
            del made["url"]
    assert listed == told


def test_a_player_gets_from_the_master_playlist_to_every_byte_without_a_key(app, worker, anyone):
    media_id = worker.ready(app.name, CUSTOMER, "video", FACTS, VIDEO)
    told = app.reader.get(f"/v1/media/{media_id}").json()
    urls = {made["name"]: made["url"] for made in told["renditions"]}

    master = anyone.get(urls["hls"])
    assert master.headers["content-type"].startswith(HLS)
    rung_url = urljoin(urls["hls"], master.text.splitlines()[3])
    assert expires(rung_url) >= expires(urls["hls"])
    assert expires(rung_url) > time.time() + FILM_SECONDS
    rung = anyone.get(rung_url)
    assert rung.text.splitlines()[0] == "#EXTM3U"
    media_url = rung.text.splitlines()[4]
    assert f'URI="{media_url}"' in rung.text
    assert httpx.get(media_url, headers={"Range": "bytes=256-271"}, timeout=60).content == FILM[256:272]

    cues = anyone.get(urls["storyboard"]).text
    sprite, _, place = cues.splitlines()[3].partition("#")
    assert place == "xywh=0,0,160,90"
    assert httpx.get(sprite, timeout=60).content == b"sprite"
    assert httpx.get(urls["video"], timeout=60).content == FILM

    assert code(anyone.get(urls["hls"].replace("hls.m3u8", "hls-720.m3u8"))) == (403, "invalid_signature")
    assert code(anyone.get(urls["hls"].partition("?")[0])) == (403, "unsigned")
    assert code(app.reader.get(urls["hls"].partition("?")[0])) == (403, "unsigned")


def test_fifty_at_once_order_a_picture_once_and_all_get_it(app, worker, anyone, service):
    media_id = worker.ready(app.name, CUSTOMER)
    orders(service)
    url = image_url(app, media_id, w=640, h=480, fit="cover", format="webp")
    content = b"RIFF" + bytes(200_000)
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(anyone.get, url) for _ in range(50)]
        ordered: list[dict[str, str]] = []
        eventually(lambda: ordered.extend(orders(service)) or bool(ordered), "an order")
        worker.make_variant(app.name, media_id, ordered[0]["step"], content)
        answers = [one.result() for one in asked]
    assert ordered + orders(service) == [
        {
            "kinstream": "variant",
            "app": app.name,
            "media_id": media_id,
            "step": "image-w640-h480-cover-webp-q80",
        }
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.content == content for answer in answers)
    assert "image-w640" not in str(app.reader.get(f"/v1/media/{media_id}").json()["renditions"])


def test_a_picture_is_kept_and_caches_are_told_for_how_long(app, worker, anyone, service):
    media_id = worker.ready(app.name, CUSTOMER)
    url = image_url(app, media_id, w=200)
    catalog_name = "image-w200-inside-jpeg-q80"
    worker.catalog.order_variant(app.name, media_id, catalog_name, {}, most=9)
    worker.make_variant(app.name, media_id, catalog_name, b"picture")
    orders(service)

    first = anyone.get(url)
    assert (first.status_code, first.content) == (200, b"picture")
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert first.headers["content-type"] == "image/webp"
    assert first.headers["content-length"] == "7"
    etag = first.headers["etag"]
    for told in (etag, f'"other", W/{etag}', "*"):
        again = anyone.get(url, headers={"If-None-Match": told})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert anyone.get(url, headers={"If-None-Match": '"other"'}).status_code == 200
    head = anyone.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["etag"], head.headers["content-length"]) == (etag, "7")
    assert orders(service) == []


def test_every_change_of_a_signed_address_is_refused(app, worker, anyone):
    media_id = worker.ready(app.name, CUSTOMER)
    other = worker.ready(app.name, CUSTOMER)
    url = image_url(app, media_id, w=640)
    changes = [("w=640", "w=641"), (media_id, other), ("q=80", "q=81"), ("expires=1", "expires=2")]
    changes += [
        (f"app={app.name}", "app=other"),
        ("fit=inside", "fit=cover"),
        ("&w=640", ""),
        ("/image?", "/image?h=9&"),
    ]
    for old, new in changes:
        assert old in url
        assert code(anyone.get(url.replace(old, new))) == (403, "invalid_signature"), old
    for sender in (anyone, app.reader):
        assert code(sender.get(f"/v1/media/{media_id}/image", params={"w": 640})) == (403, "unsigned")


def test_a_server_signs_by_itself_as_the_documentation_shows(app, worker, anyone, service):
    page = (Path(__file__).parents[2] / "docs" / "media.md").read_text()
    snippet = page.partition("```python\n")[2].partition("```")[0]
    scope: dict = {}
    exec(compile(snippet, "docs/media.md", "exec"), scope)  # noqa: S102 - our own page
    key = app.reader.get("/v1/signing-key").json()["key"]
    media_id = worker.ready(app.name, CUSTOMER)
    worker.catalog.order_variant(app.name, media_id, "image-w200-inside-jpeg-q80", {}, most=9)
    worker.make_variant(app.name, media_id, "image-w200-inside-jpeg-q80", b"picture")
    path = f"/v1/media/{media_id}/image"
    assert anyone.get(scope["signed"](key, app.name, path, life_seconds=60, w=200)).content == b"picture"
    old = scope["signed"](key, app.name, path, life_seconds=-1, w=200)
    assert code(anyone.get(old)) == (403, "link_expired")


def signed(app: App, path: str, query: str) -> str:
    key = app.reader.get("/v1/signing-key").json()["key"]
    told = f"app={app.name}&expires={int(time.time()) + 60}&{query}"
    rest = "&".join(sorted(told.split("&")))
    signature = hmac.new(key.encode(), f"{path}?{rest}".encode(), hashlib.sha256).hexdigest()
    return f"{path}?{rest}&signature={signature}"


@pytest.mark.parametrize(
    "query",
    ["q=80", "w=0", "w=4097", "w=1e3", "w=640&fit=fill", "w=640&format=gif", "w=640&q=101", "w=640&h="],
)
def test_a_picture_that_is_none_is_refused_in_words_though_it_is_signed(app, worker, anyone, query):
    media_id = worker.ready(app.name, CUSTOMER)
    answer = anyone.get(signed(app, f"/v1/media/{media_id}/image", query))
    assert code(answer) == (422, "invalid_request")
    wish = dict(parse_qsl(query, keep_blank_values=True))
    asked = app.reader.post(f"/v1/media/{media_id}/image-urls", json={"images": [wish]})
    assert code(asked) == (422, "invalid_request")


def test_what_has_no_picture_is_refused_and_says_why(app, worker, anyone):
    def asked(media_id: str) -> tuple[int, str]:
        return code(anyone.get(signed(app, f"/v1/media/{media_id}/image", "w=64")))

    assert asked("0" * 32) == (404, "not_found")
    assert asked(worker.declare(app.name, CUSTOMER)) == (409, "not_ready_yet")
    assert asked(worker.ready(app.name, CUSTOMER, "audio")) == (409, "no_picture")
    broken = worker.ready(app.name, CUSTOMER)
    worker.catalog.order_variant(app.name, broken, "image-w64-inside-jpeg-q80", {}, most=9)
    worker.fail_variant(app.name, broken, "image-w64-inside-jpeg-q80", "the original is gone")
    answer = anyone.get(signed(app, f"/v1/media/{broken}/image", "w=64"))
    assert code(answer) == (409, "cannot_be_made")
    assert "the original is gone" in answer.json()["message"]
    for name in ("hls.m3u8", "original", "video.mp4", "..%2F..%2Fother"):
        assert code(anyone.get(signed(app, f"/v1/media/{broken}/files/{name}", "x=1"))) == (404, "not_found")


def test_a_file_that_is_gone_from_its_bucket_is_not_found(app, service, worker, anyone):
    media_id = worker.ready(app.name, CUSTOMER, "video", FACTS, VIDEO)
    item = worker.catalog.get(app.name, media_id)
    bucket = service.settings.names.of(BUCKET_DERIVED)
    for made in item.renditions:
        service.aws("s3").delete_object(Bucket=bucket, Key=made.object_key)
    answer = anyone.get(signed(app, f"/v1/media/{media_id}/files/hls.m3u8", "x=1"))
    assert code(answer) == (404, "not_found")
