"""Carries merges out, in steps that anybody may repeat.

A merge is noted down, its target is written, and after a grace, in which readers that have listed the old
files may finish, its sources are deleted and then the note.

Guarantee: at any moment every row is in a file, whoever dies when and however many compact at once. Until
the sources are gone a row is in two files; readers drop repetitions by identity. A lease keeps all workers
but one from doing the same work; nothing hangs on it but money.
"""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from kinstream.settings import LONGEST_TRAINING_SECONDS
from session_worker.compaction.bucket import Bucket
from session_worker.compaction.lease import Lease
from session_worker.compaction.merging import UnmergeableError, is_parquet, merge_files
from session_worker.domain.compaction import FILES, MERGES, Merge, Policy, plan

log = logging.getLogger(__name__)


class CompactionSettings(BaseSettings):
    """How often, and how soon old files go."""

    model_config = SettingsConfigDict(env_prefix="KINSTREAM_COMPACTION_", frozen=True, populate_by_name=True)

    interval_seconds: float = Field(600.0, gt=0)
    settle_seconds: float = Field(300.0, ge=0)
    """How old a file must be to be merged."""
    grace_seconds: float = Field(3_600.0, ge=0)
    """How long merged files stay after the longest training run that may have listed them has ended."""
    longest_run_seconds: float = Field(
        LONGEST_TRAINING_SECONDS, gt=0, validation_alias="KINSTREAM_TRAINING_MAX_RUN_SECONDS"
    )
    """The trigger's own limit for a run."""

    @property
    def stay_seconds(self) -> float:
        """How long merged files stay for readers that have listed them already."""
        return self.longest_run_seconds + self.grace_seconds

    @property
    def lease_seconds(self) -> float:
        """Longer than one merge takes: the lease is taken anew before each."""
        return max(2 * self.interval_seconds, 60.0)

    def policy(self) -> Policy:
        """When merging pays."""
        return Policy(settle_ms=int(self.settle_seconds * 1000))


class Compactor:
    """Compacts one deployment's archive."""

    def __init__(
        self,
        bucket: Bucket,
        lease: Lease,
        settings: CompactionSettings,
        now_ms: Callable[[], int],
        policy: Policy | None = None,
    ) -> None:
        self._bucket = bucket
        self._lease = lease
        self._settings = settings
        self._now_ms = now_ms
        self._policy = policy or settings.policy()
        self._notes: dict[str, Merge] = {}
        """What is noted down, by the note's key: a note never changes."""
        self._stopping: Callable[[], bool] = lambda: False
        self._unreadable: set[str] = set()
        """Files that cannot be merged: named in the log once, and left alone."""

    async def run(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Finish what was begun, then merge what is worth it; how many merges were made.

        Does nothing while another worker has the lease, and stops where it has lost it, or where `stopping`
        says so.
        """
        self._stopping = stopping
        if not await self._may_go_on():
            return 0
        begun = await self._begun()
        files = [file async for file in self._bucket.files(FILES)]
        written_at_ms = {file.key: file.written_at_ms for file in files}
        made = 0
        for merge in begun:
            if not await self._may_go_on():
                return made
            made += await self._go_on(merge, written_at_ms)
        taken = {key for merge in begun for key in (*merge.sources, merge.target)} | self._unreadable
        for merge in plan(files, taken, self._now_ms(), self._policy):
            if not await self._may_go_on():
                return made
            await self._bucket.write(merge.note, msgspec.json.encode(merge))
            made += await self._merge(merge)
        return made

    async def _may_go_on(self) -> bool:
        return not self._stopping() and await self._lease.take(self._settings.lease_seconds)

    async def _begun(self) -> list[Merge]:
        keys = [note.key async for note in self._bucket.files(MERGES)]
        for key in keys:
            if key not in self._notes and (body := await self._bucket.content(key)) is not None:
                try:
                    self._notes[key] = msgspec.json.decode(body, type=Merge)
                except msgspec.MsgspecError as error:
                    log.warning("object is no note of a merge", extra={"key": key, "error": str(error)})
        self._notes = {key: self._notes[key] for key in keys if key in self._notes}
        return list(self._notes.values())

    async def _go_on(self, merge: Merge, written_at_ms: Mapping[str, int]) -> bool:
        """The next step of a merge that was begun; whether that was the merging itself."""
        if merge.target not in written_at_ms:
            return await self._merge(merge)
        age_ms = self._now_ms() - written_at_ms[merge.target]
        if age_ms >= self._settings.stay_seconds * 1000:
            await self._bucket.delete(merge.sources)
            await self._bucket.delete([merge.note])
        return False

    async def _merge(self, merge: Merge) -> bool:
        """Write the target. False where a source is gone or unreadable; then the merge is given up.

        False as well where the worker is stopping: the note stays, and whoever comes next goes on.
        """
        with tempfile.TemporaryDirectory(prefix="kinstream-compaction-") as folder:
            target = Path(folder, "target")
            sources = [Path(folder, str(number)) for number in range(len(merge.sources))]
            for key, path in zip(merge.sources, sources, strict=True):
                if self._stopping():
                    return False
                # Gone: another compactor has its rows in another file, or it would not be.
                if not await self._bucket.read(key, path):
                    return await self._give_up(merge)
                if not await asyncio.to_thread(is_parquet, path):
                    return await self._give_up(merge, key)
            try:
                rows = await asyncio.to_thread(merge_files, sources, target)
            except UnmergeableError as error:
                log.warning("archive files not merged", extra={"reason": str(error)})
                return await self._give_up(merge, *merge.sources)
            await self._bucket.write(merge.target, target)
        log.info("archive files merged", extra={"files": len(merge.sources), "rows": rows})
        return True

    async def _give_up(self, merge: Merge, *unreadable: str) -> bool:
        for key in unreadable:
            log.warning("archive file left as it is", extra={"key": key})
        self._unreadable |= set(unreadable)
        await self._bucket.delete([merge.note])
        return False
