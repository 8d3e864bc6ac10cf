"""Runs on EMR and EMR Serverless, by the scripts of what may become of a cluster, over real HTTP."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator

import boto3
import pytest
import pytest_asyncio
from botocore.config import Config

from kinstream import keys
from kinstream.settings import CoreSettings
from recommender_trigger import main
from recommender_trigger.domain.failures import Cause
from recommender_trigger.domain.runs import Run, State, Usage, new_run_id
from recommender_trigger.emr_events import EmrEvents
from recommender_trigger.launchers.emr_request import job_flow
from recommender_trigger.launchers.emr_serverless import job_run_request
from recommender_trigger.launchers.staging import StagedJob
from tests.support.emr_stand import (
    CUSTOMERS,
    LEASE_SECONDS,
    PATIENCE_SECONDS,
    EmrStand,
    Place,
    emr_stand,
    place,
)
from tests.support.fault_proxy import Fault, Kind
from tests.support.recommender import APP
from tests.support.scripted_emr import Script, broken, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVERLESS = Script(("SUBMITTED", "QUEUED", "PENDING", "SCHEDULED", "RUNNING", "SUCCESS"))
FLEET_TIMEOUT = broken("INSTANCE_FLEET_TIMEOUT", "no machines within 10 minutes")
STEP_FAILED = broken(
    "STEP_FAILURE", step="FAILED", Reason="Unknown Error.", Message="no events", LogFile="s3://logs/stderr.gz"
)
_STRIDE = 1 if os.environ.get("KINSTREAM_FAULTS") == "long" else 3
"""Every death of a trigger is tried on the way of a run that goes well; on others every third, or all."""
_AROUND_A_FAILURE = {"first": 14, "last": 30, "stride": _STRIDE}
JOB = StagedJob("s3://jobs/train.py", "s3://jobs/job.zip")


@pytest.fixture(scope="module")
def there(endpoint: str) -> Iterator[Place]:
    core = CoreSettings(name_prefix=f"t{new_run_id(0)[-8:]}", aws_endpoint_url=endpoint, log_level="WARNING")
    with place(core) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(there: Place) -> AsyncIterator[EmrStand]:
    async with emr_stand(there) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_serverless(there: Place) -> AsyncIterator[EmrStand]:
    async with emr_stand(there, "emr-serverless") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def stand(shared: EmrStand) -> AsyncIterator[EmrStand]:
    await shared.begin()
    yield shared
    assert not shared.emr.violations


@pytest_asyncio.fixture(loop_scope="module")
async def serverless(shared_serverless: EmrStand) -> AsyncIterator[EmrStand]:
    await shared_serverless.begin(SERVERLESS)
    yield shared_serverless
    assert not shared_serverless.emr.violations


async def _is_served(stand: EmrStand, run: Run) -> bool:
    lists = [await stand.get("recommendations", keys.recommendations(APP, c, run.run_id)) for c in CUSTOMERS]
    return (
        (run.state, run.published, run.cause) == (State.DONE, True, None)
        and await stand.pointer() == run.run_id
        and all(lists)
        and not await stand.waiting()
        and await stand.store().lock(APP) is None
    )


async def test_run_goes_through_all_states_of_a_cluster(stand: EmrStand):
    stand.emr.forget(Script(("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING", "TERMINATED")))
    assert await _is_served(stand, await stand.serve(stand.trigger()))
    assert len(stand.emr.attempts) == 1
    assert not stand.emr.at_work


async def test_run_goes_through_all_states_of_a_job_run(serverless: EmrStand):
    assert await _is_served(serverless, await serverless.serve(serverless.trigger()))
    (attempt,) = serverless.emr.attempts
    run = await serverless.last()
    assert run.usage == Usage(0.5, 2.0, 0.0)
    assert run.usd == pytest.approx(0.5 * 0.052624 + 2 * 0.0057785, abs=1e-4)
    run_id = run.run_id
    assert attempt.request["clientToken"] == f"{run_id}-1"
    assert attempt.request["executionTimeoutMinutes"] == 180


async def test_botocore_itself_takes_the_requests_for_valid(there: Place, stand: EmrStand):
    """The service's own clients check nothing, for speed: plain boto3 does."""
    session = boto3.session.Session(region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    run = Run(APP, new_run_id(stand.clock.now_ms), State.LAUNCHING, stand.clock.now_ms, attempt=2)
    config = Config(retries={"total_max_attempts": 1})
    with_url = {"endpoint_url": there.clear.url, "config": config}
    for service, call, request in (
        ("emr", "run_job_flow", job_flow(run, stand.settings, JOB, "s3://jobs/bootstrap.sh")),
        ("emr-serverless", "start_job_run", job_run_request(run, stand.settings, JOB)),
    ):
        client = session.client(service, **with_url)
        await asyncio.to_thread(getattr(client, call), **request)
        client.close()
    assert len(stand.emr.attempts) == 2
    stand.emr.forget()


async def test_machines_that_are_not_to_be_had_are_asked_for_elsewhere_and_on_demand(stand: EmrStand):
    stand.emr.forget(FLEET_TIMEOUT, broken("INSTANCE_FAILURE"), Script())
    run = await stand.serve(stand.trigger())
    assert await _is_served(stand, run)
    first, second, third = (attempt.request["Instances"] for attempt in stand.emr.attempts)
    subnets = [instances["Ec2SubnetIds"] for instances in (first, second, third)]
    assert subnets == [["subnet-a", "subnet-b"], ["subnet-b"], ["subnet-a", "subnet-b"]]
    assert "TargetSpotCapacity" in first["InstanceFleets"][2]
    assert "TargetOnDemandCapacity" in second["InstanceFleets"][2]


async def test_third_failure_of_machines_is_told_and_customers_stay_due(stand: EmrStand):
    stand.emr.forget(FLEET_TIMEOUT)
    run = await stand.serve(stand.trigger())
    assert (run.state, run.cause, run.attempt) == (State.FAILED, Cause.MACHINES, 3)
    assert len(stand.emr.attempts) == 3
    (alert,) = await stand.told(run.run_id)
    assert (alert["kind"], alert["cause"], alert["attempts"]) == ("training.failed", "machines", 3)
    assert "no machines within 10 minutes" in alert["reason"]
    assert alert["log"].endswith(f"/logs/{run.handle}/")
    assert await stand.waiting() == dict.fromkeys(CUSTOMERS, 100)


@pytest.mark.parametrize("script", [broken("VALIDATION_ERROR", "no such subnet"), refused()])
async def test_what_emr_refuses_is_not_tried_again_until_somebody_asks(stand: EmrStand, script: Script):
    stand.emr.forget(script, Script())
    trigger = stand.trigger()
    run = await stand.serve(trigger)
    assert (run.state, run.cause, run.attempt) == (State.FAILED, Cause.REFUSED, 1)
    stand.clock.move(stand.settings.training_max_backoff_seconds - 1)
    assert (await stand.serve(trigger)).run_id == run.run_id
    await stand.store().request(APP, stand.clock.now_ms)
    assert await _is_served(stand, await stand.serve(trigger))


async def test_step_that_failed_says_why_and_where_its_log_lies(stand: EmrStand):
    stand.emr.forget(STEP_FAILED)
    run = await stand.serve(stand.trigger())
    assert (run.cause, run.attempt, run.log_uri) == (Cause.JOB, 1, "s3://logs/stderr.gz")
    assert "no events" in run.reason


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        *(
            (Script(step=step), f"its step as {step}")
            for step in ("PENDING", "RUNNING", "CANCEL_PENDING", "CANCELLED", "FAILED", "INTERRUPTED")
        ),
        (Script(does_job=False), "manifest.json is missing"),
    ],
)
async def test_cluster_that_ended_well_is_no_proof(stand: EmrStand, script: Script, reason: str):
    stand.emr.forget(script)
    run = await stand.serve(stand.trigger())
    assert (run.state, run.cause) == (State.FAILED, Cause.JOB)
    assert reason in run.reason
    assert await stand.pointer() is None


async def test_cluster_that_somebody_ended_is_not_replaced(stand: EmrStand):
    stand.emr.forget(broken("USER_REQUEST"))
    trigger = stand.trigger()
    assert (await stand.serve(trigger)).cause is Cause.STOPPED
    stand.clock.move(stand.settings.training_max_backoff_seconds - 1)
    await stand.serve(trigger)
    assert len(stand.emr.attempts) == 1


@pytest.mark.parametrize(
    ("details", "cause", "attempts"),
    [("ExitCode: 1. No events", Cause.JOB, 1), ("Insufficient capacity for workers", Cause.MACHINES, 3)],
)
async def test_job_run_that_fails_is_tried_again_by_what_it_says(
    serverless: EmrStand, details: str, cause: Cause, attempts: int
):
    serverless.emr.forget(Script(("RUNNING", "FAILED"), message=details, does_job=False))
    run = await serverless.serve(serverless.trigger())
    assert (run.state, run.cause, len(serverless.emr.attempts)) == (State.FAILED, cause, attempts)
    assert run.usage
    assert run.usage.vcpu_hours == pytest.approx(0.5 * attempts), "every attempt is paid for"
    assert run.log_uri is not None
    assert run.log_uri.endswith(f"/logs/applications/00a1/jobs/{run.handle}/")


async def test_job_run_that_somebody_cancelled_is_not_replaced(serverless: EmrStand):
    serverless.emr.forget(Script(("RUNNING", "CANCELLING", "CANCELLED"), message="by user", does_job=False))
    run = await serverless.serve(serverless.trigger())
    assert (run.state, run.cause, run.reason) == (
        State.FAILED,
        Cause.STOPPED,
        "the job run ended as CANCELLED, by user",
    )


@pytest.mark.parametrize("launcher", ["emr", "emr-serverless"])
async def test_run_that_takes_too_long_is_ended_there(stand: EmrStand, serverless: EmrStand, launcher: str):
    at = stand if launcher == "emr" else serverless
    at.emr.forget(Script(("RUNNING",)))
    trigger = at.trigger(training_max_run_seconds=60)
    await trigger.tick()
    await at.until_launched()
    at.clock.move(61)
    await trigger.idle()
    assert (await at.last()).cause is Cause.DEADLINE
    assert not at.emr.at_work


async def test_cluster_that_cannot_be_looked_at_is_told_of_and_ended_as_soon_as_it_can_be(stand: EmrStand):
    stand.emr.forget(Script(("RUNNING",)))
    for operation in ("DescribeCluster", "TerminateJobFlows"):
        stand.faults.strike(Fault(operation, Kind.ERROR, times=10**6))
    trigger = stand.trigger(faulty=True, training_max_run_seconds=60)
    await trigger.tick()
    await stand.until_launched()
    stand.clock.move(61)
    run = await stand.last()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (told := await stand.told(run.run_id)):  # noqa: ASYNC110 - a queue tells nobody
            await asyncio.sleep(0.05)
    assert [alert["cause"] for alert in told] == ["deadline"]
    assert stand.emr.at_work
    stand.faults.relent()
    await trigger.idle()
    assert not stand.emr.at_work
    assert await stand.store().lock(APP) is None


async def test_cluster_is_ended_also_while_nobody_can_be_told(stand: EmrStand):
    stand.emr.forget(Script(("RUNNING",)))
    stand.faults.strike(Fault("Publish", Kind.ERROR, times=10**6))
    trigger = stand.trigger(faulty=True, training_max_run_seconds=60)
    await trigger.tick()
    await stand.until_launched()
    stand.clock.move(61)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while stand.emr.at_work:  # noqa: ASYNC110 - EMR is another thread's
            await asyncio.sleep(0.05)
    assert not stand.emr.at_work
    run = await stand.last()
    assert not await stand.told(run.run_id)
    stand.faults.relent()
    await trigger.idle()
    assert [alert["cause"] for alert in await stand.told(run.run_id)] == ["deadline"]
    assert await stand.store().lock(APP) is None


OPERATIONS = ("RunJobFlow", "ListClusters", "DescribeCluster", "ListSteps")
SERVERLESS_OPERATIONS = ("StartJobRun", "ListJobRuns", "GetJobRun")
KINDS = (Kind.LOST, Kind.THROTTLING, Kind.ERROR, Kind.BEFORE)


@pytest.mark.parametrize("turn", range(len(KINDS)))
async def test_faults_of_every_call_leave_one_cluster(stand: EmrStand, turn: int):
    for number, operation in enumerate(OPERATIONS):
        stand.faults.strike(Fault(operation, KINDS[(number + turn) % len(KINDS)], after=number % 2))
    stand.faults.strike(Fault("RunJobFlow", KINDS[turn]))
    assert await _is_served(stand, await stand.serve(stand.trigger(faulty=True)))
    assert len(stand.faults.relent()) >= 3
    assert len(stand.emr.attempts) == 1


@pytest.mark.parametrize("turn", range(2))
async def test_faults_of_every_call_leave_one_job_run(serverless: EmrStand, turn: int):
    for number, operation in enumerate(SERVERLESS_OPERATIONS):
        serverless.faults.strike(Fault(operation, KINDS[(number + turn) % len(KINDS)]))
    assert await _is_served(serverless, await serverless.serve(serverless.trigger(faulty=True)))
    assert len(serverless.emr.attempts) == 1


async def test_cluster_that_is_launched_twice_because_the_list_is_late_is_ended(stand: EmrStand):
    stand.emr.forget(Script(("RUNNING",) * 40 + ("TERMINATED",)))
    stand.emr.hidden_lists = 1
    stand.faults.strike(Fault("RunJobFlow", Kind.LOST))
    trigger = stand.trigger(faulty=True)
    await trigger.tick()
    await stand.until_launched(2)
    run = await stand.serve(trigger)
    assert await _is_served(stand, run)
    stand.clock.move(stand.settings.training_sweep_seconds)
    await trigger.tick()
    assert not stand.emr.at_work
    assert {alert["kind"] for alert in await stand.told(run.run_id)} == {"training.orphan_ended"}


async def test_trigger_that_stood_still_launches_an_orphan_that_is_ended(stand: EmrStand):
    stand.emr.forget(Script(), Script(("RUNNING",)))
    slow = stand.trigger(faulty=True)
    with stand.emr.launch_held_back() as is_held:
        await slow.tick()
        assert await asyncio.to_thread(is_held.wait, 60)
        stand.clock.move(LEASE_SECONDS + 1)
        run = await stand.serve(stand.trigger())
        assert await _is_served(stand, run)
    await slow.idle()
    assert [attempt.is_at_work for attempt in stand.emr.attempts] == [False, True]
    await stand.trigger().tick()
    assert not stand.emr.at_work
    assert await stand.last() == run


async def test_orphans_are_ended_and_what_is_not_ours_is_left(stand: EmrStand):
    own = new_run_id(stand.clock.now_ms)
    run = Run(APP, own, State.LAUNCHING, stand.clock.now_ms)
    request = job_flow(run, stand.settings, JOB, "s3://jobs/bootstrap.sh")
    for changes in ({}, {"Name": "nightly"}, {"Tags": []}):
        stand.emr.scripts = [Script(("RUNNING",))]
        await stand.trigger()._launcher._emr.run_job_flow(**(request | changes))
    await stand.forget_runs()
    await stand.trigger(training_enabled=False).tick()
    assert [attempt.stopped for attempt in stand.emr.attempts] == [True, False, False]


async def test_orphan_among_job_runs_is_ended(serverless: EmrStand):
    serverless.emr.forget(Script(("RUNNING",)))
    run = Run(APP, new_run_id(serverless.clock.now_ms), State.LAUNCHING, serverless.clock.now_ms)
    await serverless.trigger()._launcher.launch(run)
    await serverless.trigger(training_enabled=False).tick()
    assert not serverless.emr.at_work


async def test_event_of_emr_makes_the_follower_look_at_once(stand: EmrStand):
    trigger = stand.trigger(training_poll_seconds=10_000)
    queue = stand.names.of("emr-events")
    listening = asyncio.create_task(EmrEvents(stand.clients["sqs"], queue, trigger.look_now).listen())
    serving = asyncio.create_task(stand.serve(trigger))
    url = (await stand.clients["sqs"].get_queue_url(QueueName=queue))["QueueUrl"]
    while not serving.done():
        for attempt in stand.emr.attempts:
            body = json.dumps({"source": "aws.emr", "detail": {"clusterId": attempt.id}})
            await stand.clients["sqs"].send_message(QueueUrl=url, MessageBody=body)
        await asyncio.sleep(0.05)
    listening.cancel()
    assert await _is_served(stand, serving.result())


async def test_service_trains_on_clusters_until_it_is_told_to_stop(there: Place, stand: EmrStand):
    await stand.make_due(*CUSTOMERS, due_at_ms=1)
    settings = stand.settings.model_copy(
        update={"aws_endpoint_url": there.clear.url, "training_tick_seconds": 0.05}
    )
    service = asyncio.create_task(main.run(settings))
    async with asyncio.timeout(PATIENCE_SECONDS):
        # Nobody tells this test what the service has done.
        while not (  # noqa: ASYNC110
            service.done() or (await stand.pointer() and not await stand.store().lock(APP))
        ):
            await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    await service
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)
    assert await _is_served(stand, await stand.last())


async def test_switch_ends_a_cluster_that_runs(stand: EmrStand):
    stand.emr.forget(Script(("RUNNING",)))
    trigger = stand.trigger()
    await trigger.tick()
    await stand.until_launched()
    await trigger.close()
    run = await stand.serve(stand.trigger(training_enabled=False))
    assert (run.state, run.cause) == (State.FAILED, Cause.SWITCHED_OFF)
    assert not stand.emr.at_work


async def test_killed_trigger_loses_and_doubles_nothing_wherever_it_dies(stand: EmrStand):
    async for calls, (run,) in stand.deaths(Script(("RUNNING", "TERMINATED"))):
        assert await _is_served(stand, run), (calls, run)
        assert len(stand.emr.attempts) == 1, calls
    assert 25 < calls < 200


async def test_killed_trigger_leaves_one_job_run(serverless: EmrStand):
    script = Script(("RUNNING", "SUCCESS"))
    async for calls, (run,) in serverless.deaths(script, first=7, last=16, stride=_STRIDE):
        assert await _is_served(serverless, run), calls
        assert len(serverless.emr.attempts) == 1, calls
    assert calls == 16


async def test_killed_trigger_asks_for_other_machines_once(stand: EmrStand):
    scripts = broken("INSTANCE_FLEET_TIMEOUT"), Script(("RUNNING", "TERMINATED"))
    async for calls, (run,) in stand.deaths(*scripts, **_AROUND_A_FAILURE):
        assert await _is_served(stand, run), (calls, run)
        assert (run.attempt, len(stand.emr.attempts)) == (2, 2), calls


async def test_killed_trigger_never_keeps_a_failure_to_itself(stand: EmrStand):
    async for calls, (run,) in stand.deaths(broken("STEP_FAILURE", step="FAILED"), **_AROUND_A_FAILURE):
        assert (run.state, len(stand.emr.attempts)) == (State.FAILED, 1), calls
        assert await stand.told(run.run_id), calls
        assert await stand.waiting() == dict.fromkeys(CUSTOMERS, 100), calls
