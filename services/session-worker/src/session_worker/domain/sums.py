"""What is to be added to counters, and how a journal writes it down. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import zstandard

from kinstream.errors import PermanentError, RetryableError
from kinstream.packing import packed, unpacked

_MOST = 2**62

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(
    list[tuple[str, dict[str, int], dict[str, set[int]], dict[str, str]]]
).decode


@dataclass(slots=True)
class Sums:
    """What is to be added to one counter. Adding sums up: the order makes no difference."""

    amounts: dict[str, int] = field(default_factory=dict)
    members: dict[str, set[int]] = field(default_factory=dict)
    """Numbers to unite into number sets."""
    labels: dict[str, str] = field(default_factory=dict)
    """Constants that the counter carries."""

    def add(
        self,
        amounts: Mapping[str, int],
        members: Mapping[str, Iterable[int]],
        labels: Mapping[str, str],
    ) -> None:
        """Add more to the same counter."""
        for name, by in amounts.items():
            self.amounts[name] = self.amounts.get(name, 0) + by
        for name, some in members.items():
            self.members.setdefault(name, set()).update(some)
        if labels:
            self.labels |= labels

    def __bool__(self) -> bool:
        """Whether adding it changes anything."""
        return any(self.amounts.values()) or any(self.members.values())


def written_down(sums: Mapping[str, Sums]) -> bytes:
    """Sums of counters by their partition keys, as bytes. PermanentError where they cannot be read again."""
    for one in sums.values():
        for by in (*one.amounts.values(), *(member for some in one.members.values() for member in some)):
            if type(by) is not int or abs(by) > _MOST:
                raise PermanentError("a counter that is spread over slots takes whole numbers up to 2^62")
    return packed(_encode([(name, one.amounts, one.members, one.labels) for name, one in sums.items()]))


def add_up(entries: Iterable[bytes]) -> dict[str, Sums]:
    """What entries that `written_down` made come to, by the partition key of the counter.

    RetryableError where one cannot be read: another version of the worker can.
    """
    total: dict[str, Sums] = {}
    try:
        for entry in entries:
            for name, amounts, members, labels in _decode(unpacked(entry)):
                total.setdefault(name, Sums()).add(amounts, members, labels)
    except (msgspec.MsgspecError, zstandard.ZstdError) as error:
        raise RetryableError(
            "an entry of the journal cannot be read; run the version that wrote it"
        ) from error
    return total
