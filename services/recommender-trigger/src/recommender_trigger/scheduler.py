"""The loop that looks who is due, launches runs, follows them to their end and publishes.

Every step is recorded before the next begins, under a lease. A trigger that dies at any moment leaves a
lease that runs out, and whichever trigger sees it first carries on from the recorded state.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from kinstream.resources import BUCKET_ARCHIVE
from recommender_trigger.archive import ArchiveCensus
from recommender_trigger.customers import Customers
from recommender_trigger.domain.runs import DueCustomer, Run, State, history_of, new_run_id
from recommender_trigger.domain.trigger import Decision, Situation, decide, in_turn, is_settled
from recommender_trigger.follower import INFRASTRUCTURE, Follower
from recommender_trigger.launchers.base import Launcher
from recommender_trigger.run_store import Lock, RunStore
from recommender_trigger.settings import TriggerSettings
from recommender_trigger.sweeper import Sweeper

log = logging.getLogger(__name__)


class _Followed(NamedTuple):
    """A run as it was when this trigger began to follow it."""

    run: Run
    task: asyncio.Task[None]


class Scheduler:
    """One trigger. Several may run at once: the lock row lets one of them have a run."""

    def __init__(
        self,
        *,
        settings: TriggerSettings,
        customers: Customers,
        store: RunStore,
        launcher: Launcher,
        follower: Follower,
        sweeper: Sweeper,
        s3: Any,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._policy = settings.policy
        self._customers = customers
        self._store = store
        self._launcher = launcher
        self._follower = follower
        self._sweeper = sweeper
        self._s3 = s3
        self._now_ms = now_ms
        self._following: dict[str, _Followed] = {}
        self._census: dict[str, ArchiveCensus] = {}
        self._said: dict[str, str] = {}
        self._swept_at_ms: int | None = None

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Tick until told to stop; `ready` is called after the first tick that went through."""
        try:
            while not stop.is_set():
                try:
                    await self.tick()
                    ready()
                except INFRASTRUCTURE as error:
                    log.warning("tick failed, trying again", extra={"error": type(error).__name__})
                await _wait(stop, self._settings.training_tick_seconds)
        finally:
            await self.close()

    async def tick(self) -> None:
        """Look at every app once: carry on what was left behind, launch what is due, end orphans."""
        self._forget_ended()
        due = await self._customers.due()
        for app in await self._apps_in_turn(due):
            try:
                await self._look_at(app, due)
            except INFRASTRUCTURE as error:
                extra = {"app": app, "error": type(error).__name__}
                log.warning("app not looked at, trying again", extra=extra)
            except Exception:  # one app must not keep the others from theirs
                log.exception("app not looked at", extra={"app": app})
        await self._sweep_at_times()

    def look_now(self, handle: str) -> None:
        """What was launched under this handle has changed."""
        self._follower.look_now(handle)

    async def idle(self) -> None:
        """Wait until no run is being followed."""
        while self._following:
            await asyncio.wait([followed.task for followed in self._following.values()])
            self._forget_ended()

    async def close(self) -> None:
        """Stop following: leases are given up, so that the next trigger carries on at once."""
        left = [followed for followed in self._following.values() if not followed.task.done()]
        for followed in left:
            followed.task.cancel()
        await asyncio.gather(*(followed.task for followed in left), return_exceptions=True)
        for followed in left:
            await self._follower.give_up_lease(followed.run)
        self._following.clear()

    async def _apps_in_turn(self, due: Mapping[str, list[DueCustomer]]) -> list[str]:
        """Those that no run is followed of."""
        apps = [app for app in await self._customers.apps() if app not in self._following]
        asked = await asyncio.gather(
            *(self._store.requested_at_ms(app) for app in apps), return_exceptions=True
        )
        # One that cannot be read is told of where the app is looked at.
        requested = {app: at_ms for app, at_ms in zip(apps, asked, strict=True) if isinstance(at_ms, int)}
        oldest = {app: min(customer.due_at_ms for customer in customers) for app, customers in due.items()}
        return in_turn(apps, requested, oldest)

    async def _look_at(self, app: str, due: Mapping[str, list[DueCustomer]]) -> None:
        lock = await self._store.lock(app)
        now_ms = self._now_ms()
        if lock and lock.lease_until_ms <= now_ms:
            await self._carry_on(app, lock)
            return
        waiting = due.get(app, [])
        requested_at_ms = await self._store.requested_at_ms(app)
        situation = Situation(
            [customer.due_at_ms for customer in waiting],
            lock.lease_until_ms if lock else None,
            is_requested=requested_at_ms is not None,
        )
        decision = await self._decided(app, situation)
        if decision is Decision.LAUNCH:
            settled = [one for one in waiting if is_settled(one.due_at_ms, self._policy, now_ms)]
            await self._launch(app, settled, requested_at_ms)
        elif decision and (waiting or requested_at_ms):
            self._say(app, decision.value)

    async def _decided(self, app: str, situation: Situation) -> Decision | None:
        """What to do, finding out only as much as it takes; None where nothing can be launched now."""
        now_ms = self._now_ms()
        decision = decide(situation, self._policy, now_ms)
        if decision is Decision.COUNT_ARCHIVE:
            situation = replace(situation, history=history_of(await self._store.recent(app)))
            decision = decide(situation, self._policy, now_ms)
        if decision not in (Decision.COUNT_ARCHIVE, Decision.LAUNCH):
            return decision
        if not await self._can_launch():
            return None
        if decision is Decision.COUNT_ARCHIVE:
            census = self._census.setdefault(app, self._new_census(app))
            situation = replace(situation, archive=await census.count(self._policy))
            decision = decide(situation, self._policy, now_ms)
        return decision

    async def _can_launch(self) -> bool:
        if len(self._following) >= self._settings.training_max_parallel_runs:
            return False
        missing = await self._launcher.unavailable()
        if missing:
            self._say("", missing, logging.WARNING)
        return missing is None

    async def _launch(self, app: str, due: list[DueCustomer], requested_at_ms: int | None) -> None:
        now_ms = self._now_ms()
        run = Run(
            app,
            new_run_id(now_ms),
            State.LAUNCHING,
            now_ms,
            launcher=self._launcher.name,
            customers_due=len(due),
            incumbent=await self._store.incumbent(app),
        )
        await self._customers.remember(run, due)
        if await self._store.begin(run, self._follower.lease_until_ms(), requested_at_ms):
            log.info("run launched", extra={"app": app, "run_id": run.run_id, "customers_due": len(due)})
            self._said.pop(app, None)
            self._follow(run)

    async def _carry_on(self, app: str, lock: Lock) -> None:
        if not await self._store.take_over(app, lock, self._follower.lease_until_ms()):
            return
        # Not before: until then its old owner may have moved it on.
        run = await self._store.run(app, lock.run_id)
        assert run, "a run and its lock are written together"
        log.info("run taken over", extra={"app": app, "run_id": run.run_id, "state": run.state.value})
        self._follow(run)

    def _follow(self, run: Run) -> None:
        self._following[run.app] = _Followed(run, asyncio.create_task(self._follower.follow(run)))

    def _forget_ended(self) -> None:
        for app, (run, task) in list(self._following.items()):
            if task.done():
                del self._following[app]
                error = None if task.cancelled() else task.exception()
                if error:
                    # A bug; the run's lease runs out and the run is carried on from its recorded state.
                    log.error("following a run broke off", extra={"run_id": run.run_id}, exc_info=error)

    async def _sweep_at_times(self) -> None:
        now_ms = self._now_ms()
        every_ms = self._settings.training_sweep_seconds * 1000
        if self._swept_at_ms is None or now_ms - self._swept_at_ms >= every_ms:
            try:
                await self._sweeper.sweep()
            except INFRASTRUCTURE as error:
                log.warning("orphans not looked for, trying again", extra={"error": type(error).__name__})
            else:
                self._swept_at_ms = now_ms

    def _new_census(self, app: str) -> ArchiveCensus:
        prefix = Run(app, "", State.LAUNCHING, 0).archive_prefix
        return ArchiveCensus(self._s3, self._settings.names.of(BUCKET_ARCHIVE), prefix)

    def _say(self, about: str, text: str, level: int = logging.INFO) -> None:
        """Log what keeps customers waiting when it changes, not at every tick."""
        if self._said.get(about) != text:
            self._said[about] = text
            log.log(level, text, extra={"app": about} if about else {})


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
