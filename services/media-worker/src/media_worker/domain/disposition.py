"""What becomes of an item whose processing failed."""

from dataclasses import dataclass

from kinstream.errors import KinstreamError, PermanentError

_FIRST_DELAY_SECONDS = 5
_LONGEST_DELAY_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Failed:
    """The item has failed. `exhausted` is for one that might succeed if somebody tried again later."""

    reason: str
    exhausted: bool


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The message is to be delivered again after so long."""

    after_seconds: int


def after_failure(error: Exception, receive_count: int, max_receives: int) -> Failed | TryAgain:
    """Fail at once what can never succeed, and what has been tried often enough; try again otherwise."""
    if isinstance(error, PermanentError):
        return Failed(str(error), exhausted=False)
    if receive_count >= max_receives:
        return Failed(exhausted_reason(receive_count, _for_people(error)), exhausted=True)
    delay = _FIRST_DELAY_SECONDS * 2 ** min(receive_count - 1, 16)
    return TryAgain(min(_LONGEST_DELAY_SECONDS, delay))


def exhausted_reason(attempts: int, last: str) -> str:
    """What a person reads of an item that was tried in vain."""
    return f"tried {'once' if attempts == 1 else f'{attempts} times'}: {last}"


def _for_people(error: Exception) -> str:
    if isinstance(error, KinstreamError):
        return str(error)
    return f"an error that should not happen ({type(error).__name__}), see the log"
