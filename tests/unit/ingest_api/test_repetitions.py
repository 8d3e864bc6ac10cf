"""Noticing requests that come again."""

from ingest_api.repetitions import Repetitions


def test_a_request_that_comes_again_is_noticed_within_its_app():
    seen = Repetitions()
    assert not seen.has("a", b"[1]" * 1_000)
    assert seen.has("a", b"[1]" * 1_000)
    assert not seen.has("b", b"[1]" * 1_000)
    assert not seen.has("a", b"[1]" * 999 + b"[2]")


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first():
    seen = Repetitions()
    for number in range(20_001):
        seen.has("a", b"%d" % number)
    assert not seen.has("a", b"0")
    assert seen.has("a", b"20000")
    assert len(seen._seen) == len(seen._order) == 20_000
