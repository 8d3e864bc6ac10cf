"""Ends what holds machines and belongs to no live run."""

import logging

from recommender_trigger.alerts import Operations
from recommender_trigger.customers import Customers
from recommender_trigger.domain.attempts import Launched, orphans
from recommender_trigger.domain.runs import Run
from recommender_trigger.launchers.base import Launcher
from recommender_trigger.run_store import RunStore

log = logging.getLogger(__name__)


class Sweeper:
    """Looks at everything that this deployment has launched. Safe to repeat, and to run in several triggers.

    Orphans come from a trigger that stood still while another took its run over, and from a launch whose
    answer was lost while the list did not show the cluster yet.
    """

    def __init__(
        self, *, launcher: Launcher, store: RunStore, customers: Customers, operations: Operations
    ) -> None:
        self._launcher = launcher
        self._store = store
        self._customers = customers
        self._operations = operations

    async def sweep(self) -> None:
        """Once over everything."""
        launched = await self._launcher.at_work()
        found = orphans(launched, await self._live()) if launched else []
        # A run that ended while we looked has taken its cluster with it: what is still there is an orphan.
        still = {one.handle for one in await self._launcher.at_work()} if found else set()
        for orphan in found:
            if orphan.handle in still:
                await self._end(orphan)

    async def _end(self, orphan: Launched) -> None:
        await self._launcher.end(orphan.handle)
        log.warning("orphan ended", extra={"run_id": orphan.run_id, "handle": orphan.handle})
        await self._operations.tell(
            "a cluster without a run was ended",
            "training.orphan_ended",
            run_id=orphan.run_id,
            handle=orphan.handle,
        )

    async def _live(self) -> list[Run]:
        locks = [(app, await self._store.lock(app)) for app in await self._customers.apps()]
        runs = [await self._store.run(app, lock.run_id) for app, lock in locks if lock]
        return [run for run in runs if run]
