"""Traces where nobody collects them, and what may stand in a message for one."""

import pytest
from opentelemetry.sdk.trace import TracerProvider

from kinstream import tracing
from kinstream.tracing import all_continued, begun, carried, continued, part

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_tracer", TracerProvider().get_tracer("test"))


def test_where_nobody_collects_a_trace_is_only_handed_on():
    with begun("request", 1.0), part("publish"):
        assert carried() == ""
    with continued("process", PARENT):
        assert carried() == PARENT
    assert carried() == ""


@pytest.mark.parametrize("text", ["", "garbage", PARENT[:-2], PARENT[:-2] + "00", PARENT + "\0", "00--", "é"])
def test_what_says_no_sampled_trace_is_none(collected: None, text: str):
    with continued("process", text) as span:
        assert not span.is_recording()
        assert carried() == ""
        with part("commit") as inner:
            assert not inner.is_recording()


def test_parts_and_messages_are_of_the_same_trace(collected: None):
    with begun("request", 1.0):
        first = carried()
        with part("publish"):
            sent = carried()
    assert sent != first
    with continued("process", sent):
        assert carried()[:35] == first[:35] == sent[:35]


def test_of_several_messages_each_trace_goes_on(collected: None):
    other = PARENT.replace("0af7", "1af7")
    with all_continued("process", [PARENT, "", PARENT, other]):
        assert carried()[:35] == other[:35]
    assert carried() == ""


def test_share_of_nothing_is_nothing(collected: None):
    for _ in range(1_000):
        with begun("request", 0.0) as span:
            assert not span.is_recording()


def test_error_is_told_by_its_kind_alone(collected: None):
    with pytest.raises(ValueError, match="of fam-42"), begun("request", 1.0) as span:
        raise ValueError("of fam-42")
    assert span.status.description == "ValueError"
    assert not span.events
    assert not tracing._is_traced.get()
