"""What the end of a decoding child says about its file."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinstream.errors import PermanentError, RetryableError
from media_worker.domain import containment
from media_worker.domain.containment import ChildEnd, SandboxLimits

MIB = 1024**2
LIMITS = SandboxLimits(memory_bytes=900 * MIB, cpu_seconds=60, wall_seconds=1_440, file_bytes=3 * 1024**3)


@given(st.text(max_size=2_000))
def test_whatever_a_child_says_is_shown_as_one_printable_line(text: str) -> None:
    shown = containment.told(text)
    assert 0 < len(shown) <= 300
    assert shown.isprintable()
    assert containment.told(shown) == shown


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (ChildEnd(-signal.SIGSEGV, 50 * MIB, 1), "crashes its decoder"),
        (ChildEnd(-signal.SIGTRAP, 50 * MIB, 1), "crashes its decoder"),
        (ChildEnd(3, 50 * MIB, 1), "crashes its decoder"),
        (ChildEnd(0, 50 * MIB, 1), "crashes its decoder"),
        (ChildEnd(-signal.SIGSEGV, 899 * MIB, 1), "more memory to decode than the allowed 900 MB"),
        (ChildEnd(-signal.SIGABRT, 899 * MIB, 1), "more memory to decode than the allowed 900 MB"),
        (ChildEnd(-signal.SIGXCPU, 50 * MIB, 60), "more than 60 seconds of computing"),
        (ChildEnd(-signal.SIGKILL, 50 * MIB, 61), "more than 60 seconds of computing"),
        (ChildEnd(-signal.SIGXFSZ, 50 * MIB, 1), "outgrows the allowed 3 GB"),
    ],
)
def test_child_that_its_file_has_killed_fails_the_file(end: ChildEnd, reason: str) -> None:
    error = containment.error_of_end(end, LIMITS)
    assert isinstance(error, PermanentError)
    assert reason in str(error)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_child_that_somebody_else_has_killed_is_no_fault_of_the_file(number: signal.Signals) -> None:
    assert isinstance(containment.error_of_end(ChildEnd(-number, 50 * MIB, 1), LIMITS), RetryableError)


def test_limits_are_told_in_units_of_people() -> None:
    assert "longer than 24 minutes" in str(containment.out_of_time(LIMITS))
    assert "longer than 90 seconds" in str(containment.out_of_time(SandboxLimits(wall_seconds=90)))
    assert "allowed 6 GB" in str(containment.out_of_room(LIMITS))
