"""Which small files of the archive become one. Pure.

Up to a megabyte a file joins any merge. A larger one joins only smaller ones that together are as large: so
it is rewritten only when it at least doubles, seven times on its way to 128 MB, and not for each late event.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby

FILES = "events/"
"""Under which events lie: `events/app=<app>/dt=<date>/<name>.parquet`."""
MERGES = "compaction/"
"""Under which merges are noted down: the target's path with this in place of `events/`."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the archive."""

    key: str
    size_bytes: int
    written_at_ms: int

    @property
    def partition(self) -> str:
        """Its app and date."""
        return self.key.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Policy:
    """When merging pays."""

    settle_ms: int = 5 * 60_000
    """Younger files are left alone."""
    quiet_ms: int = 60 * 60_000
    """When nothing was written to a date for so long, fewer files are worth a merge."""
    fewest_files: int = 8
    fewest_files_when_quiet: int = 2
    small_bytes: int = 1024 * 1024
    """A file up to this size joins any merge."""
    target_bytes: int = 128 * 1024 * 1024
    """A merge stops short of growing beyond this."""
    most_files: int = 1_000


@dataclass(frozen=True, slots=True)
class Merge:
    """Files that become one. The same files always become the same."""

    sources: tuple[str, ...]
    target: str

    @property
    def note(self) -> str:
        """Key under which it is noted down."""
        return MERGES + self.target.removeprefix(FILES).removesuffix(".parquet") + ".json"


def merge_of(sources: Sequence[str]) -> Merge:
    """The merge of these files, which are of one app and date."""
    in_order = tuple(sorted(sources))
    digest = blake2b("\0".join(in_order).encode(), digest_size=16).hexdigest()
    return Merge(in_order, f"{in_order[0].rpartition('/')[0]}/merged-{digest}.parquet")


def plan(files: Sequence[StoredFile], taken: Collection[str], now_ms: int, policy: Policy) -> Iterator[Merge]:
    """Merges that are worth it now. `taken` are keys that some merge has to do with already."""
    parquet = [file for file in files if file.key.endswith(".parquet")]
    in_order = sorted(parquet, key=lambda file: (file.partition, file.size_bytes, file.key))
    for _, group in groupby(in_order, key=lambda file: file.partition):
        of_date = list(group)
        is_quiet = now_ms - max(file.written_at_ms for file in of_date) >= policy.quiet_ms
        free = [
            file
            for file in of_date
            if file.key not in taken and now_ms - file.written_at_ms >= policy.settle_ms
        ]
        fewest = policy.fewest_files_when_quiet if is_quiet else policy.fewest_files
        yield from (merge_of(keys) for keys in _lots(free, policy) if len(keys) >= fewest)


def _lots(files: Sequence[StoredFile], policy: Policy) -> Iterator[list[str]]:
    """Cut files, the smallest first, into lots of at most the target's size."""
    lot: list[str] = []
    lot_bytes = 0
    for file in files:
        is_full = lot_bytes + file.size_bytes > policy.target_bytes or len(lot) == policy.most_files
        is_too_large = file.size_bytes > max(policy.small_bytes, lot_bytes)
        if lot and (is_full or is_too_large):
            yield lot
            lot, lot_bytes = [], 0
        lot.append(file.key)
        lot_bytes += file.size_bytes
    if lot:
        yield lot
