"""What the media-worker decides, without doing it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinstream.errors import PermanentError, RetryableError
from media_worker.domain import policy
from media_worker.domain.disposition import Failed, TryAgain, after_failure
from media_worker.domain.geometry import clockwise_turn, fit
from media_worker.domain.notifications import requests
from media_worker.domain.policy import Limits, Probe, VideoFacts

LIMITS = Limits(video_pixels=1920 * 1080, video_duration_seconds=600, image_pixels=50_000_000, streams=8)
SIDES = st.integers(1, 20_000)


def record(key: str, **more: str) -> dict:
    return {
        "eventName": "ObjectCreated:Post",
        "s3": {"bucket": {"name": "up"}, "object": {"key": key, "size": 5, "eTag": "e1"} | more},
    }


@given(st.binary(max_size=400))
def test_any_bytes_are_recognized_or_not_without_an_error(head: bytes) -> None:
    found = policy.recognize(head)
    assert found is None or found.family in ("av", "image")


@pytest.mark.parametrize(
    "text",
    [b"ffconcat version 1.0\nfile 'x'\n", b"#EXTM3U\n#EXT-X-VERSION:3\n", b"<MPD></MPD>", b"v=0\no=- 0", b""],
)
def test_playlists_and_texts_are_no_media(text: bytes) -> None:
    with pytest.raises(PermanentError, match="no media file"):
        policy.check_format(policy.recognize(text), "video")


def test_photo_declared_as_video_is_refused_with_what_it_is() -> None:
    with pytest.raises(PermanentError, match="declared as video, but the file is a photo"):
        policy.check_format(policy.recognize(b"\xff\xd8\xff\xe0"), "video")


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (Probe("mov", 99, 1, VideoFacts("h264", 64, 64), None), "99 streams"),
        (Probe("mov", 1, 36_000, VideoFacts("h264", 64, 64), None), "600 minutes"),
        (Probe("mov", 1, 1, VideoFacts("h264", 16_384, 8_704), None), "16384 x 8704"),
        (Probe("mov", 1, 1, VideoFacts("h264", 0, 0), None), "no picture"),
        (Probe("mov", 1, 1, None, None), "neither pictures nor sound"),
    ],
)
def test_container_beyond_a_limit_is_refused_with_the_limit(probe: Probe, reason: str) -> None:
    with pytest.raises(PermanentError, match=reason):
        policy.check_probe(probe, LIMITS)


@pytest.mark.parametrize(("size", "reason"), [(0, "empty"), (11, "11 bytes")])
def test_empty_and_too_large_files_are_refused(size: int, reason: str) -> None:
    with pytest.raises(PermanentError, match=reason):
        policy.check_bytes(size, 10)


@given(SIDES, SIDES, SIDES)
def test_fitted_size_is_never_larger_and_keeps_its_shape(width: int, height: int, side: int) -> None:
    made = fit(width, height, side)
    assert max(made) <= max(side, 1)
    assert made[0] <= width
    assert made[1] <= height
    assert abs(made[0] * height - made[1] * width) <= max(width, height)


@pytest.mark.parametrize(
    ("rotation", "turn"), [(0, 0), (-90, 90), (90, 270), (180, 180), (-180, 180), (270, 90)]
)
def test_rotation_becomes_a_clockwise_turn(rotation: int, turn: int) -> None:
    assert clockwise_turn(rotation) == turn


def test_permanent_error_fails_at_once_and_others_after_the_last_try() -> None:
    assert after_failure(PermanentError("broken"), 1, 5) == Failed("broken", exhausted=False)
    assert after_failure(RetryableError("S3 is away"), 5, 5) == Failed(
        "tried 5 times: S3 is away", exhausted=True
    )
    assert after_failure(OSError("disk"), 6, 5).reason.startswith("tried 6 times: an error that should not")


@given(st.integers(1, 1_000))
def test_next_try_waits_longer_within_bounds(count: int) -> None:
    first, second = (after_failure(RetryableError("x"), n, 10_000) for n in (count, count + 1))
    assert isinstance(first, TryAgain)
    assert 5 <= first.after_seconds <= second.after_seconds <= 300


def test_notification_is_read_straight_and_through_sns() -> None:
    body = json.dumps({"Records": [record("demo/a+b%2Bc/original")]})
    straight = requests(body)
    assert [created.key for created in straight] == ["demo/a b+c/original"]
    assert requests(json.dumps({"Type": "Notification", "Message": body})) == straight


def test_test_event_and_removals_are_nothing_to_do() -> None:
    removed = record("k") | {"eventName": "ObjectRemoved:Delete"}
    assert requests('{"Event": "s3:TestEvent"}') == []
    assert requests(json.dumps({"Records": [removed]})) == []


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"Records": 5}', '{"Records": [{"eventName": 1}]}', "nonsense"]
)
def test_message_that_is_no_notification_is_an_error(body: str) -> None:
    with pytest.raises(PermanentError):
        requests(body)


def test_same_object_gives_the_same_task_and_a_new_upload_another() -> None:
    first, again, other = (
        requests(json.dumps({"Records": [record("k", eTag=tag)]}))[0].task_id for tag in ("a", "a", "b")
    )
    assert first == again != other
