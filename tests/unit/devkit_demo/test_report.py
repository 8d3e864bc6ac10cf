"""The reports and the comparison, on results made by hand."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from kinstream_devkit.demo.compare import compare_rejections, differences_of
from kinstream_devkit.demo.findings import (
    Comparison,
    Difference,
    Findings,
    MediaResult,
    Recommendations,
    Recommended,
    Rejection,
    RenditionFile,
    Sent,
)
from kinstream_devkit.demo.media_checks import is_upright
from kinstream_devkit.generate.media import draw_scene
from kinstream_devkit.generate.world import Delivery
from kinstream_devkit.reference.alerts import Alert
from kinstream_devkit.reference.events import truth_of
from kinstream_devkit.report.page import render_page
from kinstream_devkit.report.terminal import print_report

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def findings(**changes) -> Findings:
    events = [
        {
            "id": str(n),
            "type": "content.viewed",
            "customer_id": "fam",
            "device_id": "ipad",
            "occurred_at": (START + timedelta(minutes=3 * n + 60 * (n // 4))).isoformat(),
            "data": {"content_id": "story-the-sleepy-fox", "activity": "reading" if n % 3 else "watching"},
        }
        for n in range(8)
    ]
    values = {
        "source": "made by hand",
        "customers": 1,
        "distinct_events": 8,
        "duplicates": 1,
        "late": 2,
        "sent": Sent(seconds=2.0, requests=3, deliveries=[Delivery(event) for event in events]),
        "comparisons": [Comparison("sessions", 2, [])],
        "showcase": "fam",
        "sessions": truth_of(events).sessions["fam"],
        "alerts": {"fam": [Alert("kid-1", START, None, 59.0, 18.0)]},
        "people": {("fam", "kid-1"): "Mia"},
        "media": [
            MediaResult(
                "beach.jpg",
                "image/jpeg",
                123_456,
                state="ready",
                renditions=[RenditionFile("small", "thumbnail", "image/jpeg", 8, 6, None, jpeg())],
            )
        ],
        "recommendations": Recommendations(
            "model", 30.0, "", {"fam": [Recommended("story-the-brave-owl", 1.0, ["story-the-sleepy-fox"])]}
        ),
        "timings": {"sending events": 2.0},
    }
    return Findings(**values | changes)


def terminal_text(found: Findings) -> str:
    console = Console(file=io.StringIO(), width=130)
    print_report(console, found, Path("report.html"))
    return console.file.getvalue()


def test_the_terminal_report_tells_what_happened():
    text = terminal_text(findings())
    for expected in ("4 events/s", "The brave owl", "The sleepy fox", "Mia", "not yet", "beach.jpg", "8 x 6"):
        assert expected in text
    assert "All 2 results agree" in text


def test_the_terminal_report_names_each_difference():
    differences = [Difference(f"fam · ipad · {n}", {"event_count": 3}, None) for n in range(20)]
    text = terminal_text(findings(comparisons=[Comparison("sessions", 20, differences)]))
    assert "20 of 20 results differ" in text
    assert "fam · ipad · 0" in text
    assert "and 8 more" in text


def test_the_page_holds_its_pictures_and_asks_for_nothing_from_outside():
    page = render_page(findings())
    assert "data:image/jpeg;base64," in page
    assert "<rect" in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_page_escapes_what_came_from_outside():
    page = render_page(findings(showcase="<script>alert(1)</script>"))
    assert "<script>" not in page


def test_a_report_without_media_alerts_and_model_is_still_a_report():
    bare = findings(media=[], alerts={}, sessions=[], recommendations=Recommendations())
    assert "All 2 results agree" in terminal_text(bare)
    assert "All 2 results agree" in render_page(bare)


def test_missing_extra_and_differing_results_are_all_named_with_their_fields_alone():
    expected = {"a": {"x": 1, "y": 2}, "b": {"x": 1}, "c": {"x": 1}}
    found = {"a": {"x": 1, "y": 3, "z": 4}, "c": {"x": 1, "z": 9}, "d": {"x": 5}}
    differences = differences_of(expected, found)
    assert differences == [
        Difference("a", {"y": 2}, {"y": 3}),
        Difference("b", {"x": 1}, None),
        Difference("d", None, {"x": 5}),
    ]
    assert Comparison("letters", 3, differences).agreed == 1


def test_a_bad_event_that_was_taken_and_a_good_one_that_was_not_are_differences():
    good, bad = Delivery({"id": "1"}), Delivery({"id": "2"}, "two days ahead")
    right = Sent(deliveries=[good], rejections=[Rejection(bad, "2", "in_future", "two days ahead")])
    assert compare_rejections(right, 1).differences == []
    wrong = Sent(deliveries=[bad], rejections=[Rejection(good, "1", "invalid", "?")])
    assert len(compare_rejections(wrong, 1).differences) == 2


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_a_scene_that_is_turned_or_mirrored_is_not_upright(turn):
    scene = draw_scene(400, 300, seed=3)
    assert is_upright(scene)
    # Only what keeps sky and sun where they were may pass; nothing does.
    assert not is_upright(scene.transpose(turn))
