"""Large files as steps on queues of their own, announcements of items, and variants that were ordered."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinstream.catalog import StepState
from kinstream.catalog.keys import original_key
from kinstream.resources import (
    BUCKET_UPLOADS,
    DEAD_LETTER_SUFFIX,
    QUEUE_MEDIA,
    QUEUE_MEDIA_LARGE,
    QUEUE_UPLOADS,
    TOPIC_MEDIA,
)
from kinstream_devkit.generate.media import write_phone_video, write_photo
from tests.support.media_stack import FINAL, MediaStack, until

ALL_LARGE = {"KINSTREAM_MEDIA_SMALL_COST_SECONDS": "0.01"}
"""Whatever is uploaded is worked on step by step."""


@pytest.fixture
def stack(tmp_path: Path, endpoint: str, catalog_url: str) -> Iterator[MediaStack]:
    made = MediaStack(tmp_path, endpoint, catalog_url)
    yield made
    made.close()


class Hearer:
    """A queue of its own on the topic `media`."""

    def __init__(self, stack: MediaStack) -> None:
        self._sqs, names = stack.sqs, stack.settings.names
        self._url = self._sqs.create_queue(QueueName=names.of("hears-media"))["QueueUrl"]
        stack.sns.subscribe(
            TopicArn=names.topic_arn(TOPIC_MEDIA),
            Protocol="sqs",
            Endpoint=names.queue_arn(names.of("hears-media")),
            Attributes={"RawMessageDelivery": "true"},
        )

    def hear(self, count: int) -> dict[str, dict]:
        """At least so many announcements, by their ids."""
        heard: dict[str, dict] = {}
        deadline = time.monotonic() + 180
        while len(heard) < count:
            assert time.monotonic() < deadline, f"heard {len(heard)} of {count}"
            answer = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                told = json.loads(message["Body"])
                heard[told["id"]] = told
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return heard


def test_large_file_is_worked_on_step_by_step_and_comes_out_the_same(
    stack: MediaStack, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.3gp"
    write_phone_video(clip, seconds=1)
    with stack.worker():
        at_once = stack.wait(stack.upload(clip, "video/3gpp"), *FINAL)
    with stack.worker(**ALL_LARGE):
        media_id = stack.upload(clip, "video/3gpp")
        in_steps = stack.wait(media_id, *FINAL)
        stack.wait_until_idle()

    def told(item: dict) -> list[dict]:
        volatile = ("url", "bytes")
        return [{k: v for k, v in made.items() if k not in volatile} for made in item["renditions"]]

    assert in_steps["state"] == "ready"
    assert told(in_steps) == told(at_once)
    assert stack.attempt(media_id, "video") == 1
    assert list(stack.work_dir.iterdir()) == []


def test_worker_for_one_queue_leaves_the_other_alone(stack: MediaStack, tmp_path: Path) -> None:
    clip, photo = tmp_path / "clip.3gp", tmp_path / "photo.jpg"
    write_phone_video(clip, seconds=1)
    write_photo(photo, 320, 200, orientation=1)
    large = stack.settings.names.of(QUEUE_MEDIA_LARGE)
    with stack.worker(KINSTREAM_MEDIA_QUEUES="media", **ALL_LARGE):
        clip_id = stack.upload(clip, "video/3gpp")
        until(lambda: stack.depth(large) > 0, "steps on the queue for large files")
        photo_id = stack.upload(photo, "image/jpeg")
        until(lambda: stack.attempt(photo_id) == 1, "the photo to be begun")
        assert stack.read(clip_id)["state"] == "processing"
    with stack.worker(**ALL_LARGE):
        assert stack.wait(clip_id, *FINAL)["state"] == "ready"
        assert stack.wait(photo_id, *FINAL)["state"] == "ready"


def test_large_file_whose_steps_fail_leaves_empty_queues_and_no_dead_letters(
    stack: MediaStack, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.3gp"
    write_phone_video(clip, seconds=1)
    large = stack.settings.names.of(QUEUE_MEDIA_LARGE)
    with stack.worker(KINSTREAM_MEDIA_QUEUES="media", **ALL_LARGE):
        media_id = stack.upload(clip, "video/3gpp")
        until(lambda: stack.depth(large) > 1, "steps on the queue for large files")
    original = {"Bucket": stack.settings.names.of(BUCKET_UPLOADS), "Key": original_key("demo", media_id)}
    stack.s3.put_object(**original, Body=b"another file")
    with stack.worker(**ALL_LARGE):
        item = stack.wait(media_id, *FINAL)
        stack.wait_until_idle()

    assert (item["state"], item["reason"]) == (
        "failed",
        "another file was uploaded while this one was worked on",
    )
    for queue in (QUEUE_MEDIA, QUEUE_MEDIA_LARGE):
        assert stack.depth(stack.settings.names.of(queue) + DEAD_LETTER_SUFFIX) == 0


def test_end_of_every_item_is_announced_once_by_its_id(stack: MediaStack, tmp_path: Path) -> None:
    hearer = Hearer(stack)
    photo = tmp_path / "photo.jpg"
    write_photo(photo, 320, 200, orientation=1)
    with stack.worker():
        good = stack.upload(photo, "image/jpeg")
        bad = stack.upload(photo, "video/mp4")
        stack.wait(good, *FINAL)
        stack.wait(bad, *FINAL)
        heard = {told["media_id"]: told for told in hearer.hear(2).values()}

    assert heard[good]["type"] == "media.ready"
    assert "image-640" in heard[good]["renditions"]
    assert heard[bad]["type"] == "media.failed"
    assert "declared as video" in heard[bad]["reason"]
    assert heard[bad]["customer_id"] == "fam-1"


def test_announcement_that_was_never_sent_is_sent_by_the_sweep(stack: MediaStack, tmp_path: Path) -> None:
    hearer = Hearer(stack)
    photo = tmp_path / "photo.jpg"
    write_photo(photo, 320, 200, orientation=1)
    topic = stack.settings.names.topic_arn(TOPIC_MEDIA)
    subscriptions = stack.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    stack.sns.delete_topic(TopicArn=topic)
    with stack.worker():
        media_id = stack.upload(photo, "image/jpeg")
        stack.wait(media_id, *FINAL)
        stack.wait_until_idle()
    assert [item.media_id for item in stack.work.unannounced(2**62)] == [media_id]

    stack.sns.create_topic(Name=stack.settings.names.of(TOPIC_MEDIA))
    for subscription in subscriptions:
        stack.sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=subscription["Endpoint"],
            Attributes={"RawMessageDelivery": "true"},
        )
    stack.age_items(60)
    with stack.worker():
        assert [told["media_id"] for told in hearer.hear(1).values()] == [media_id]
    assert stack.work.unannounced(2**62) == []


def test_ordered_variant_is_made_of_a_ready_item(stack: MediaStack, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    write_photo(photo, 800, 600, orientation=1)
    uploads = stack.sqs.get_queue_url(QueueName=stack.settings.names.of(QUEUE_UPLOADS))["QueueUrl"]
    step = "image-w64-h48-inside-jpeg-q70"
    wanted = {"width": 64, "height": 48, "fit": "inside", "format": "jpeg", "quality": 70}
    with stack.worker():
        media_id = stack.upload(photo, "image/jpeg")
        stack.wait(media_id, "ready")
        before = stack.read(media_id)["renditions"]
        assert stack.catalog.order_variant("demo", media_id, step, wanted, most=9)
        order = {"kinstream": "variant", "app": "demo", "media_id": media_id, "step": step}
        for _ in range(3):
            stack.sqs.send_message(QueueUrl=uploads, MessageBody=json.dumps(order))
        until(
            lambda: stack.catalog.variant("demo", media_id, step).state == StepState.DONE,
            "the variant",
        )

        # An upload does not stay for ever: what is asked for then is made of the largest size.
        stack.storage_forgets(media_id)
        later = "image-w32-h32-inside-jpeg-q70"
        assert stack.catalog.order_variant(
            "demo", media_id, later, wanted | {"width": 32, "height": 32}, most=9
        )
        stack.sqs.send_message(QueueUrl=uploads, MessageBody=json.dumps(order | {"step": later}))
        until(
            lambda: stack.catalog.variant("demo", media_id, later).state == StepState.DONE,
            "the variant of a photo that is gone",
        )

    made = stack.catalog.variant("demo", media_id, step).rendition
    assert (made.name, made.width, made.height) == (step, 64, 48)
    assert stack.attempt(media_id, step) == 1
    assert [one["name"] for one in stack.read(media_id)["renditions"]] == [one["name"] for one in before]
