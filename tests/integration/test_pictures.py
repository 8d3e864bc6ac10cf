"""An app's whole way: upload, hear that it is ready, show pictures of any size. On a whole stack."""

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from kinstream_devkit.generate.media import write_phone_video, write_photo
from tests.support.screens import screen
from tests.support.stack import RunningStack

CUSTOMER = "fam-pictures"
AT_ONCE = 50
MADE_SECONDS = 180
PHOTO_SIZE = (1600, 900)


@pytest.fixture
def app(stack: RunningStack) -> Iterator[httpx.Client]:
    bearer = {"Authorization": f"Bearer {stack.secret_key}"}
    with httpx.Client(base_url=stack.url, headers=bearer, timeout=60, trust_env=False) as client:
        yield client


def uploaded(app: httpx.Client, path: Path, content_type: str) -> str:
    """The id of an item that is ready, as its stream says."""
    body = {"customer_id": CUSTOMER, "content_type": content_type, "bytes": path.stat().st_size}
    with screen(app, CUSTOMER) as watching:
        declared = app.post("/v1/media", json=body).json()
        upload, files = declared["upload"], {"file": (path.name, path.read_bytes())}
        sent = httpx.post(upload["url"], data=upload["fields"], files=files, timeout=60, trust_env=False)
        assert sent.is_success, sent.text
        kinds = []
        for kind, told in watching.events():
            if told["media_id"] == declared["media_id"]:
                kinds.append(kind)
            if kinds[-1:] == ["media.ready"]:
                break
            assert "media.failed" not in kinds, told
    assert "media.progress" in kinds
    return str(declared["media_id"])


def urls(app: httpx.Client, media_id: str, *wishes: dict[str, Any]) -> list[str]:
    asked = app.post(f"/v1/media/{media_id}/image-urls", json={"images": wishes})
    assert asked.is_success, asked.text
    return [one["url"] for one in asked.json()["images"]]


def shown(url: str) -> httpx.Response:
    """What a page gets that asks again where it is told to."""
    deadline = time.monotonic() + MADE_SECONDS
    while (answer := httpx.get(url, timeout=60, trust_env=False)).status_code == 503:
        assert time.monotonic() < deadline, answer.text
        time.sleep(1)
    assert answer.status_code == 200, answer.text
    return answer


def look(answer: httpx.Response) -> tuple[str | None, tuple[int, int]]:
    with Image.open(io.BytesIO(answer.content)) as picture:
        picture.load()
        return picture.format, picture.size


def test_a_photo_is_shown_in_any_size_and_each_is_made_once(app, tmp_path):
    photo = tmp_path / "photo.jpg"
    write_photo(photo, *PHOTO_SIZE, orientation=1)
    media_id = uploaded(app, photo, "image/jpeg")
    told = app.get(f"/v1/media/{media_id}").json()
    assert (told["source"]["width"], told["source"]["height"]) == PHOTO_SIZE
    assert told["placeholder"]

    cover, avif, png, large = urls(
        app,
        media_id,
        {"w": 320, "h": 320, "fit": "cover", "format": "webp"},
        {"w": 400, "format": "avif", "q": 60},
        {"w": 200, "h": 200, "fit": "contain", "format": "png"},
        {"w": 4096},
    )
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(shown, [cover] * AT_ONCE))
    assert len({(one.content, one.headers["etag"]) for one in answers}) == 1
    assert look(answers[0]) == ("WEBP", (320, 320))
    assert answers[0].headers["content-type"] == "image/webp"
    assert look(shown(avif)) == ("AVIF", (400, 225))
    assert look(shown(png)) == ("PNG", (200, 200))
    assert look(shown(large)) == ("JPEG", PHOTO_SIZE)


def test_a_video_is_shown_by_its_poster_in_any_size(app, tmp_path):
    clip = tmp_path / "clip.3gp"
    write_phone_video(clip, 1)
    media_id = uploaded(app, clip, "video/3gpp")
    (url,) = urls(app, media_id, {"w": 96, "h": 96, "fit": "cover"})
    assert look(shown(url)) == ("JPEG", (96, 96))
