"""Follows one run from state to state, under its lease."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from opentelemetry.trace import SpanKind

from kinstream.errors import PermanentError, RetryableError
from kinstream.tracing import begun
from recommender_trigger.alerts import Operations
from recommender_trigger.cost import charges, total_usd
from recommender_trigger.customers import Customers
from recommender_trigger.domain.attempts import failed
from recommender_trigger.domain.failures import Cause
from recommender_trigger.domain.runs import Run, State
from recommender_trigger.launchers.base import Launcher, Progress
from recommender_trigger.publish import Publisher
from recommender_trigger.run_store import LeaseLostError, RunStore
from recommender_trigger.settings import TriggerSettings

log = logging.getLogger(__name__)

INFRASTRUCTURE = (BotoCoreError, ClientError, OSError, RetryableError)
"""What is tried again later: a dependency is away or busy."""

_RENEWALS_A_LEASE = 3
_MAX_PAUSE_SECONDS = 30.0
_MOST_PUBLISHING_SECONDS = 3600.0
"""Beyond the run's own limit: then what still fails is given up, so that the app can have another run."""
_SWITCHED_OFF = "training is switched off (KINSTREAM_TRAINING_ENABLED)"


class Follower:
    """Moves runs on. Guarantee: each step may be repeated, by this trigger or by the next one."""

    def __init__(
        self,
        *,
        settings: TriggerSettings,
        store: RunStore,
        launcher: Launcher,
        publisher: Publisher,
        customers: Customers,
        operations: Operations,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._store = store
        self._launcher = launcher
        self._publisher = publisher
        self._customers = customers
        self._operations = operations
        self._now_ms = now_ms
        self._changed: dict[str, asyncio.Event] = {}
        self._told: set[str] = set()

    def lease_until_ms(self) -> int:
        """The end of a lease that is taken or renewed now."""
        return self._now_ms() + int(self._settings.training_lease_seconds * 1000)

    def look_now(self, handle: str) -> None:
        """Something about what is launched under this handle has changed: do not wait for the next look."""
        changed = self._changed.get(handle)
        if changed:
            changed.set()

    async def follow(self, run: Run) -> None:
        """To the run's end, or until the lease is lost or this trigger stops."""
        work = asyncio.create_task(self._drive(run))
        lease = asyncio.create_task(self._keep_lease(run))
        try:
            done, _ = await asyncio.wait({work, lease}, return_when=asyncio.FIRST_COMPLETED)
            if work in done:
                work.result()
            else:
                log.warning("lease lost", extra={"app": run.app, "run_id": run.run_id})
        except LeaseLostError:
            log.warning("run is another trigger's now", extra={"app": run.app, "run_id": run.run_id})
        finally:
            await _stopped(work, lease)
            await self._launcher.let_go(run)

    async def _drive(self, run: Run) -> None:
        failures = 0
        while True:
            try:
                if run.state.is_end:
                    await self._finish(run)
                    return
                after = await self._stepped(run)
                if after != run:
                    await self._store.save(after)
                run, failures = after, 0
            except INFRASTRUCTURE as error:
                failures += 1
                log.warning(
                    "step failed, trying again", extra={"run_id": run.run_id, "error": str(error)[:200]}
                )
                await asyncio.sleep(min(_MAX_PAUSE_SECONDS, 0.1 * 2**failures))

    async def _stepped(self, run: Run) -> Run:
        """The run one step further, also where the step fails for good."""
        is_rare = run.state is not State.RUNNING
        try:
            with begun(f"training {run.state.value}", float(is_rare), SpanKind.INTERNAL):
                return await self._step(run)
        except PermanentError as error:
            cause = Cause.REFUSED if run.state is State.LAUNCHING else Cause.JOB
            return self._failed(run, cause, str(error))
        except LeaseLostError:
            raise
        except Exception as error:
            # Neither what cannot even be looked at nor a bug goes on for ever.
            stop = self._must_stop(run)
            if stop is None:
                raise
            log.exception("step failed for too long", extra={"app": run.app, "run_id": run.run_id})
            cause, reason = stop
            return self._failed(run, cause, f"{reason}; at last: {type(error).__name__}")

    async def _step(self, run: Run) -> Run:
        if run.state is not State.PUBLISHING and run.launcher != self._launcher.name:
            left = f"; end {run.handle} there by hand" if run.handle else ""
            reason = f"the trigger does not launch by {run.launcher} any more{left}"
            return self._failed(run, Cause.JOB, reason)
        match run.state:
            case State.LAUNCHING:
                return await self._launch(run)
            case State.RUNNING:
                changed = self._changed.setdefault(run.handle or "", asyncio.Event())
                try:
                    return await self._look(run, changed)
                finally:
                    self._changed.pop(run.handle or "")
            case State.PUBLISHING:
                outcome = await self._publisher.publish(run, self._now_ms())
                await self._customers.served(run)
                return run.advanced(
                    State.DONE,
                    published=outcome.published,
                    reason=outcome.reason,
                    usd=outcome.usd,
                    cause=None,
                    ended_at_ms=self._now_ms(),
                )
        raise AssertionError(f"no step follows {run.state}")

    async def _launch(self, run: Run) -> Run:
        # What was launched just before a trigger died is found again, not launched twice.
        handle = await self._launcher.find(run)
        if handle is None and (stop := self._must_stop(run)):
            return self._failed(run, *stop)
        return run.advanced(State.RUNNING, handle=handle or await self._launcher.launch(run))

    async def _look(self, run: Run, changed: asyncio.Event) -> Run:
        status = await self._launcher.status(run)
        match status.progress:
            case Progress.SUCCEEDED:
                return run.used(status.usage).advanced(State.PUBLISHING)
            case Progress.FAILED:
                used = run.used(status.usage)
                return self._failed(used, status.cause, status.reason, status.log_uri, status.place)
        if stop := self._must_stop(run):
            return self._failed(run, *stop)
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), self._settings.training_poll_seconds)
        return run

    def _must_stop(self, run: Run) -> tuple[Cause, str] | None:
        """Why a run may not go on, if anything. One that publishes has longer, and is not switched off."""
        publishes = run.state is State.PUBLISHING
        if not self._settings.training_enabled and not publishes:
            return Cause.SWITCHED_OFF, _SWITCHED_OFF
        limit_seconds = self._settings.training_max_run_seconds
        if publishes:
            limit_seconds += _MOST_PUBLISHING_SECONDS
        if self._now_ms() - run.launched_at_ms > limit_seconds * 1000:
            return Cause.DEADLINE, f"the run took longer than {limit_seconds:.0f} s and was ended"
        return None

    def _failed(
        self, run: Run, cause: Cause, reason: str, log_uri: str | None = None, place: str | None = None
    ) -> Run:
        after = failed(
            run,
            cause,
            reason,
            self._now_ms(),
            max_attempts=self._settings.training_max_attempts,
            log_uri=log_uri,
            place=place,
        )
        if after.state.is_end:
            return replace(after, usd=self._cost(after))
        told = {"run_id": run.run_id, "attempt": run.attempt, "reason": reason}
        log.warning("attempt failed, asking for other machines", extra=told)
        return after

    def _cost(self, run: Run) -> float | None:
        """Of a run that has failed: its machines."""
        run_ms = self._now_ms() - run.launched_at_ms
        machines = self._settings.emr_machines
        return total_usd(
            charges(run.launcher, machines=machines, run_ms=run_ms, usage=run.usage, written_units=0)
        )

    async def _finish(self, run: Run) -> None:
        """Tell people of a failure, then give the lock back: until both are done, the run is not over."""
        told = {
            "app": run.app,
            "run_id": run.run_id,
            "published": run.published,
            "reason": run.reason,
        }
        if run.state is State.FAILED:
            # Neither waits for the other: what cannot be told must end, and what cannot be ended be told.
            try:
                await self._tell(run, told)
            finally:
                if run.launcher == self._launcher.name:
                    await self._launcher.terminate(run)
        else:
            log.info("run done", extra=told)
        await self._store.release(run)
        self._told.discard(run.run_id)

    async def _tell(self, run: Run, told: dict[str, Any]) -> None:
        if run.run_id not in self._told:
            log.error("run failed", extra=told)
            more = {"cause": run.cause, "log": run.log_uri, "attempts": run.attempt, "handle": run.handle}
            await self._operations.tell("a training run failed", "training.failed", **told, **more)
            self._told.add(run.run_id)

    async def _keep_lease(self, run: Run) -> None:
        """Renew until the lease is lost; returning means that it is."""
        until_ms = self._now_ms() + int(self._settings.training_lease_seconds * 1000)
        while self._now_ms() < until_ms:
            await asyncio.sleep(self._settings.training_lease_seconds / _RENEWALS_A_LEASE)
            next_ms = self.lease_until_ms()
            try:
                await self._store.renew(run, next_ms)
            except LeaseLostError:
                return
            except (BotoCoreError, ClientError, OSError) as error:
                log.warning(
                    "lease not renewed yet", extra={"run_id": run.run_id, "error": type(error).__name__}
                )
            else:
                until_ms = next_ms

    async def give_up_lease(self, run: Run) -> None:
        """When this trigger stops: the next one need not wait then. Where it fails, the lease runs out."""
        try:
            await self._store.renew(run, 0)
        except (BotoCoreError, ClientError, OSError, LeaseLostError) as error:
            log.info("lease left to run out", extra={"run_id": run.run_id, "error": type(error).__name__})


async def _stopped(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
