"""Uploads through the API, S3, SQS and the real media-worker process, on an emulator over HTTP."""

import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from kinstream import live
from kinstream.resources import (
    BUCKET_DERIVED,
    DEAD_LETTER_SUFFIX,
    QUEUE_MEDIA,
    QUEUE_UPLOADS,
)
from kinstream_devkit.generate.media import write_phone_video, write_photo
from tests.support.media_samples import (
    needs_real_media,
    real_media,
    traces_of_place,
    write_corrupt_video,
    write_slow_video,
    write_text_as_video,
)
from tests.support.media_stack import FINAL, MediaStack, bearer, end, until
from tests.support.ministack import ministack
from tests.support.processes import is_seen


@contextmanager
def told_to(stack: MediaStack, redis_url: str, customer_id: str) -> Iterator[Callable[[], list[live.Told]]]:
    """What a customer's open screens are told from now on, once somebody asks."""
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as pubsub:
        pubsub.subscribe(live.channel(stack.settings.name_prefix, "demo", customer_id))
        assert pubsub.get_message(timeout=60)

        def told() -> list[live.Told]:
            heard = []
            while message := pubsub.get_message(timeout=0.2):
                heard.append(live.decode(message["data"]))
            return heard

        yield told


@pytest.fixture
def stack(tmp_path: Path, endpoint: str, catalog_url: str) -> Iterator[MediaStack]:
    made = MediaStack(tmp_path, endpoint, catalog_url)
    yield made
    made.close()


def test_phone_video_and_photo_become_renditions_without_a_place(
    stack: MediaStack, tmp_path: Path, redis_url: str
) -> None:
    clip, photo = tmp_path / "clip.3gp", tmp_path / "photo.jpg"
    write_phone_video(clip, seconds=2, turned=90)
    write_photo(photo, 900, 1600, orientation=6)
    with told_to(stack, redis_url, "fam-1") as told, stack.worker(KINSTREAM_REDIS_URL=redis_url):
        clip_id = stack.upload(clip, "video/3gpp")
        photo_id = stack.upload(photo, "image/jpeg")
        video, image = stack.wait(clip_id, *FINAL), stack.wait(photo_id, *FINAL)
        stack.wait_until_idle()
        heard = told()

    for media_id, kind in ((clip_id, "video"), (photo_id, "image")):
        mine = [(one.kind, one.body) for one in heard if one.body["media_id"] == media_id]
        assert mine[-1] == ("media.ready", {"media_id": media_id, "kind": kind})
        percents = [body["progress"] for one, body in mine[:-1] if one == "media.progress"]
        assert percents == sorted(percents)
        assert 0 < len(percents) == len(mine) - 1
    assert (video["state"], video["progress"], video["reason"]) == ("ready", 100, None)
    sizes = {made["name"]: (made["width"], made["height"]) for made in video["renditions"]}
    assert sizes == {"video": (288, 352), "poster": (288, 384), "preview": (240, 320)}
    sizes = {made["name"]: (made["width"], made["height"]) for made in image["renditions"]}
    scales = {"image-1280": (720, 1280), "image-640": (360, 640), "image-256": (144, 256)}
    assert sizes == scales | {f"{name}-webp": size for name, size in scales.items()} | {"square": (512, 512)}
    for made in [*video["renditions"], *image["renditions"]]:
        fetched = httpx.get(made["url"], timeout=60)
        assert fetched.status_code == 200
        assert fetched.headers["content-type"] == made["content_type"]
        assert len(fetched.content) == made["bytes"]
        assert traces_of_place(fetched.content) == []
    assert list(stack.work_dir.iterdir()) == []


def test_bad_files_fail_with_a_reason_and_leave_their_neighbours_alone(
    stack: MediaStack, tmp_path: Path
) -> None:
    text, broken, good = tmp_path / "text.3gp", tmp_path / "corrupt.3gp", tmp_path / "good.jpg"
    write_text_as_video(text)
    write_corrupt_video(broken)
    write_photo(good, 320, 200, orientation=1)
    with stack.worker():
        ids = [stack.upload(path, "video/3gpp") for path in (text, broken)]
        ids += [stack.upload(good, "image/jpeg"), stack.upload(good, "video/mp4")]
        ends = [stack.wait(media_id, *FINAL) for media_id in ids]
        stack.wait_until_idle()

    assert [item["state"] for item in ends] == ["failed", "ready", "ready", "failed"]
    assert "no media file" in ends[0]["reason"]
    assert "declared as video, but the file is a photo" in ends[3]["reason"]
    assert stack.depth(stack.settings.names.of(QUEUE_MEDIA) + DEAD_LETTER_SUFFIX) == 0


@needs_real_media()
def test_real_files_all_come_to_an_end(stack: MediaStack) -> None:
    kinds = {"video": "video/3gpp", "image": "image/jpeg", "hostile": None}
    with stack.worker():
        ids = {}
        for folder, content_type in kinds.items():
            for path in real_media(folder):
                guessed = "image/jpeg" if path.suffix in (".jpg", ".png") else "video/mp4"
                ids[path.name] = folder, stack.upload(path, content_type or guessed)
        ends = {name: (folder, stack.wait(media_id, *FINAL)) for name, (folder, media_id) in ids.items()}
        stack.wait_until_idle()

    assert [
        name for name, (folder, item) in ends.items() if folder != "hostile" and item["state"] != "ready"
    ] == []
    hostile = {name: item["state"] for name, (folder, item) in ends.items() if folder == "hostile"}
    assert [name for name, state in hostile.items() if state == "ready"] == ["ex_image01551.jpg"]
    for _, item in ends.values():
        for made in item["renditions"]:
            assert traces_of_place(httpx.get(made["url"], timeout=60).content) == []


def test_killed_child_and_killed_worker_lose_nothing(stack: MediaStack, tmp_path: Path) -> None:
    slow = tmp_path / "slow.3gp"
    write_slow_video(slow)
    process = stack.start_worker()
    try:
        media_id = stack.upload(slow, "video/3gpp")
        stack.wait(media_id, "processing")
        busy = next(int(folder.name.split("-")[1]) for folder in waiting_for(stack.work_dir))
        os.kill(busy, signal.SIGKILL)
        stack.wait(media_id, "processing")
        until(lambda: stack.attempt(media_id) == 2, "a second try")

        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=120)
        assert alive == []
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    with stack.worker():
        item = stack.wait(media_id, *FINAL)
        stack.wait_until_idle()

    assert item["state"] == "ready"
    assert stack.attempt(media_id) == 3
    assert list(stack.work_dir.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="processes look into each other by /proc")
def test_decoder_taken_over_cannot_read_the_keys_of_its_worker(stack: MediaStack) -> None:
    with stack.worker() as process:
        children = psutil.Process(process.pid).children()
        assert len(children) > 1
        assert not any(is_seen(pid) for pid in [process.pid, *(child.pid for child in children)])


def waiting_for(root: Path) -> list[Path]:
    until(lambda: root.is_dir() and any(root.iterdir()), "work to begin")
    return list(root.iterdir())


def test_work_under_way_at_sigterm_goes_back_and_is_done_by_the_next_worker(
    stack: MediaStack, tmp_path: Path
) -> None:
    slow = tmp_path / "slow.3gp"
    write_slow_video(slow)
    with stack.worker(KINSTREAM_SHUTDOWN_GRACE_SECONDS="3.5"):
        media_id = stack.upload(slow, "video/3gpp")
        stack.wait(media_id, "processing")
    with stack.worker():
        assert stack.wait(media_id, *FINAL)["state"] == "ready"


def test_emulator_that_goes_away_and_comes_back_loses_nothing(tmp_path: Path, catalog_url: str) -> None:
    state = tmp_path / "state"
    clip = tmp_path / "clip.3gp"
    write_phone_video(clip, seconds=1)
    with ministack(state) as url:
        stack = MediaStack(tmp_path, url, catalog_url)
        process = stack.start_worker()
        first = stack.upload(clip, "video/3gpp")
        stack.wait(first, *FINAL)
        waiting = stack.upload(clip, "video/3gpp")
    try:
        time.sleep(11)
        assert process.poll() is None
        with ministack(state, port=int(url.rpartition(":")[2])):
            last = stack.upload(clip, "video/3gpp")
            assert stack.wait(waiting, *FINAL, seconds=200)["state"] == "ready"
            assert stack.wait(last, *FINAL)["state"] == "ready"
            end(process)
            assert process.returncode == 0
    finally:
        end(process)
        stack.close()


def test_notification_told_twice_is_processed_once(stack: MediaStack, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    write_photo(photo, 320, 200, orientation=1)
    uploads = stack.sqs.get_queue_url(QueueName=stack.settings.names.of(QUEUE_UPLOADS))["QueueUrl"]
    media_id = stack.upload(photo, "image/jpeg")
    told = stack.sqs.receive_message(QueueUrl=uploads, WaitTimeSeconds=20, VisibilityTimeout=0)["Messages"][0]
    for _ in range(5):
        stack.sqs.send_message(QueueUrl=uploads, MessageBody=told["Body"])
    stack.sqs.send_message(QueueUrl=uploads, MessageBody='{"Event": "s3:TestEvent"}')
    with stack.worker():
        stack.wait(media_id, "ready")
        stack.wait_until_idle()

    assert stack.attempt(media_id) == 1


def test_item_tried_too_often_fails_with_the_reason_and_goes_on_when_its_message_is_brought_back(
    stack: MediaStack, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    write_photo(photo, 320, 200, orientation=1)
    names = stack.settings.names
    media_queue = stack.sqs.get_queue_url(QueueName=names.of(QUEUE_MEDIA))["QueueUrl"]
    dead_letters = names.of(QUEUE_MEDIA) + DEAD_LETTER_SUFFIX
    redrive = {"deadLetterTargetArn": names.queue_arn(dead_letters), "maxReceiveCount": 1}
    stack.sqs.set_queue_attributes(QueueUrl=media_queue, Attributes={"RedrivePolicy": json.dumps(redrive)})
    with stack.worker(KINSTREAM_MEDIA_MAX_RECEIVES="1"):
        # Not before: a worker waits for it at its start.
        stack.s3.delete_bucket(Bucket=names.of(BUCKET_DERIVED))
        item = stack.wait(stack.upload(photo, "image/jpeg"), *FINAL)
        until(lambda: stack.depth(dead_letters) == 1, "the dead letter")

    assert item["state"] == "failed"
    assert item["reason"].startswith("tried once: ")

    stack.s3.create_bucket(Bucket=names.of(BUCKET_DERIVED))
    letters = stack.sqs.get_queue_url(QueueName=dead_letters)["QueueUrl"]
    (letter,) = stack.sqs.receive_message(QueueUrl=letters)["Messages"]
    with stack.worker(KINSTREAM_MEDIA_MAX_RECEIVES="1"):
        stack.sqs.send_message(QueueUrl=media_queue, MessageBody=letter["Body"])
        assert stack.wait(item["media_id"], "ready")["reason"] is None


def test_only_the_app_itself_sees_its_media(stack: MediaStack) -> None:
    media_id = stack.declare("image/jpeg", 10).json()["media_id"]

    assert stack.read(media_id)["state"] == "declared"
    for key, status in ((stack.foreign_key, 404), (stack.write_key, 403)):
        assert stack.api.get(f"/v1/media/{media_id}", headers=bearer(key)).status_code == status
    listed = stack.api.get("/v1/media", params={"customer_id": "fam-1"}, headers=bearer(stack.foreign_key))
    assert listed.json() == {"media": [], "next": None}


def test_pages_show_each_item_once_newest_first(stack: MediaStack) -> None:
    customer = uuid.uuid4().hex
    ids = [stack.declare("image/jpeg", 10, customer_id=customer).json()["media_id"] for _ in range(5)]
    stack.declare("image/jpeg", 10, customer_id="fam-2")
    seen, cursor = [], None
    while True:
        params = {"customer_id": customer, "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = stack.api.get("/v1/media", params=params, headers=bearer(stack.secret_key)).json()
        seen += [item["media_id"] for item in page["media"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert sorted(seen) == sorted(ids)
    times = [stack.read(media_id)["created_at"] for media_id in seen]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"content_type": "text/plain"}, 422),
        ({"content_type": 'image/png"]'}, 422),
        ({"bytes": 0}, 422),
        ({"bytes": 65 * 1024**2}, 413),
        ({"customer_id": ""}, 422),
        ({"kind": "hologram"}, 422),
        ({"colour": "red"}, 422),
    ],
)
def test_declaration_that_cannot_be_is_refused(stack: MediaStack, change: dict, status: int) -> None:
    body = {"customer_id": "fam-1", "content_type": "image/png", "bytes": 10} | change
    assert stack.api.post("/v1/media", json=body, headers=bearer(stack.write_key)).status_code == status


@pytest.mark.parametrize("cursor", ["nonsense", "WzFlNDAwLCJ4Il0=", "W1tbW1tbW1tbW1s="])
def test_cursor_that_is_none_is_refused(stack: MediaStack, cursor: str) -> None:
    params = {"customer_id": "fam-1", "cursor": cursor}
    answer = stack.api.get("/v1/media", params=params, headers=bearer(stack.secret_key))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
