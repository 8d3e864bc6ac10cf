"""The recommender's path over real HTTP: who is due, runs that die, what is served, and Spark itself."""

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kinstream import keys
from kinstream.aws import AwsClients
from kinstream.errors import PermanentError
from kinstream.settings import CoreSettings
from recommender_trigger.domain.failures import Cause
from recommender_trigger.domain.runs import DueCustomer, Run, State, new_run_id
from recommender_trigger.launchers.base import Progress, Status
from recommender_trigger.launchers.emr import EmrLauncher
from recommender_trigger.launchers.java import find_java_home
from recommender_trigger.launchers.local import LocalLauncher
from recommender_trigger.publish import Publisher
from recommender_trigger.run_store import LeaseLostError
from recommender_trigger.storage import keys_under
from tests.support.recommender import APP, Bench, ScriptedLauncher, bench

RUNNING = Status(Progress.RUNNING)
SUCCEEDED = Status(Progress.SUCCEEDED)


@pytest.fixture
async def stand(settings: CoreSettings) -> AsyncIterator[Bench]:
    async with bench(settings) as made:
        await made.fill_archive()
        yield made


def _launcher(
    stand: Bench, *script: Status, publish: bool = True, customers: tuple[str, ...] = ("fam-1", "fam-2")
):
    launcher = ScriptedLauncher(*script)

    async def write(run: Run) -> None:
        await stand.write_output(run, list(customers), publish=publish)

    launcher.on_launch = write
    return launcher


async def _serve(scheduler) -> None:
    await scheduler.tick()
    await scheduler.idle()


async def _last(stand: Bench) -> Run:
    return (await stand.store().recent(APP))[0]


async def test_due_customers_are_trained_for_published_and_set_back(stand: Bench):
    await stand.make_due("fam-1", "fam-2")
    launcher = _launcher(stand, RUNNING, RUNNING, SUCCEEDED)
    await _serve(stand.scheduler(launcher))
    (run_id,) = launcher.launched
    assert await stand.pointer() == run_id
    served = await stand.get("recommendations", keys.recommendations(APP, "fam-1", run_id))
    assert served["items"] == [{"content_id": "s-1", "score": 1.5, "because": ["s-0"]}]
    assert served["expires_at"] == stand.clock.now_ms // 1000 + 14 * 86_400
    for customer_id in ("fam-1", "fam-2"):
        customer = await stand.customer(customer_id)
        assert customer["events_since_training"] == 0
        assert "due_at_ms" not in customer
        assert "due_shard" not in customer
    run = await _last(stand)
    assert (run.state, run.published, run.customers_due) == (State.DONE, True, 2)
    assert await stand.store().lock(APP) is None


async def test_events_counted_during_a_run_are_kept_and_a_customer_past_the_threshold_again_stays_due(
    stand: Bench,
):
    await stand.make_due("fam-1", "fam-2", events=130)
    launcher = _launcher(stand)
    write = launcher.on_launch

    async def count_and_write(run: Run) -> None:
        await stand.count_more("fam-1", 99)
        await stand.count_more("fam-2", 100)
        await write(run)

    launcher.on_launch = count_and_write
    await _serve(stand.scheduler(launcher))
    first, second = await stand.customer("fam-1"), await stand.customer("fam-2")
    assert (first["events_since_training"], "due_shard" in first) == (99, False)
    assert (second["events_since_training"], "due_shard" in second) == (100, True)


async def test_model_that_is_no_better_changes_nothing_that_is_served(stand: Bench):
    await stand.make_due("fam-1", "fam-2")
    await _serve(stand.scheduler(_launcher(stand, publish=False)))
    run = await _last(stand)
    assert (run.state, run.published, run.reason) == (State.DONE, False, "because of the figures")
    assert await stand.pointer() is None
    assert not await stand.get("recommendations", keys.recommendations(APP, "fam-1", run.run_id))
    assert "due_shard" not in await stand.customer("fam-1")


async def test_failed_run_alerts_keeps_customers_due_and_is_tried_again_after_its_backoff(stand: Bench):
    heard = await stand.operations_queue()
    await stand.make_due("fam-1", "fam-2")
    scheduler = stand.scheduler(_launcher(stand, Status(Progress.FAILED, "Spark fell over"), SUCCEEDED))
    await _serve(scheduler)
    run = await _last(stand)
    assert (run.state, run.reason) == (State.FAILED, "Spark fell over")
    (alert,) = await stand.heard(heard)
    assert (alert["kind"], alert["run_id"], alert["reason"]) == (
        "training.failed",
        run.run_id,
        "Spark fell over",
    )
    assert (await stand.customer("fam-1"))["events_since_training"] == 100
    stand.clock.move(stand.settings.training_backoff_seconds - 1)
    await _serve(scheduler)
    assert (await _last(stand)).run_id == run.run_id
    stand.clock.move(1)
    await _serve(scheduler)
    assert (await _last(stand)).state is State.DONE


async def test_two_triggers_launch_one_run(stand: Bench):
    await stand.make_due("fam-1", "fam-2")
    launchers = [_launcher(stand, RUNNING, SUCCEEDED) for _ in range(2)]
    await asyncio.gather(*(_serve(stand.scheduler(launcher)) for launcher in launchers))
    assert len(launchers[0].launched + launchers[1].launched) == 1


async def test_app_rests_for_the_minimum_interval_between_runs(stand: Bench):
    scheduler = stand.scheduler(launcher := _launcher(stand))
    for _ in range(2):
        await stand.make_due("fam-1", "fam-2")
        await _serve(scheduler)
    assert len(launcher.launched) == 1
    stand.clock.move(60)
    await _serve(scheduler)
    assert len(launcher.launched) == 2


async def test_apps_have_their_runs_in_the_order_in_which_they_came(stand: Bench):
    await stand.put("registry", keys.app("another"), created_at_ms=1)
    await stand.store().request(APP, stand.clock.now_ms - 2)
    await stand.store().request("another", stand.clock.now_ms - 1)
    scheduler = stand.scheduler(launcher := _launcher(stand))
    await _serve(scheduler)
    assert launcher.launched == [(await _last(stand)).run_id]
    await _serve(scheduler)
    assert launcher.launched[1:] == [run.run_id for run in await stand.store().recent("another")]


async def test_archive_that_holds_too_little_keeps_customers_waiting(settings: CoreSettings):
    async with bench(settings) as stand:
        await stand.make_due("fam-1", "fam-2")
        scheduler = stand.scheduler(launcher := _launcher(stand))
        await _serve(scheduler)
        await stand.fill_archive(customers=24)
        await _serve(scheduler)
        assert not launcher.launched
        await stand.fill_archive(customers=26)
        await _serve(stand.scheduler(launcher))
        assert len(launcher.launched) == 1


async def test_run_that_an_operator_asks_for_waits_for_nobody_and_is_launched_once(settings: CoreSettings):
    async with bench(settings) as stand:
        await stand.store().request(APP, stand.clock.now_ms)
        await stand.store().request(APP, stand.clock.now_ms + 1)
        scheduler = stand.scheduler(launcher := _launcher(stand))
        for _ in range(2):
            await _serve(scheduler)
        assert len(launcher.launched) == 1
        assert await stand.store().requested_at_ms(APP) is None


async def test_request_that_comes_while_a_run_begins_stays_for_the_next(stand: Bench):
    store, now_ms = stand.store(), stand.clock.now_ms
    await store.request(APP, now_ms + 1)
    run = Run(APP, new_run_id(now_ms), State.LAUNCHING, now_ms)
    assert not await store.begin(run, now_ms + 1000, requested_at_ms=now_ms)
    assert await store.requested_at_ms(APP) == now_ms + 1
    assert await store.lock(APP) is None


async def test_training_that_is_switched_off_launches_nothing_and_ends_what_runs(stand: Bench):
    await stand.make_due("fam-1", "fam-2")
    launcher = _launcher(stand, RUNNING)
    launched = asyncio.Event()

    async def tell(run: Run) -> None:
        launched.set()

    launcher.on_launch = tell
    begun = stand.scheduler(launcher)
    await begun.tick()
    await launched.wait()
    await begun.close()
    off = stand.scheduler(launcher, training_enabled=False)
    await _serve(off)
    assert launcher.launched[0] in launcher.terminated
    run = await _last(stand)
    assert (run.state, run.cause) == (State.FAILED, Cause.SWITCHED_OFF)
    await stand.store().request(APP, stand.clock.now_ms)
    stand.clock.move(10**6)
    await _serve(off)
    assert len(launcher.launched) == 1
    launcher.script = [SUCCEEDED]
    await _serve(stand.scheduler(launcher))
    assert len(launcher.launched) == 2, "what was asked for is not forgotten"


async def test_launcher_that_cannot_work_is_reported_once_and_customers_stay_due(
    stand: Bench, caplog: pytest.LogCaptureFixture
):
    await stand.make_due("fam-1", "fam-2")
    launcher = ScriptedLauncher(missing="install Java 17")
    scheduler = stand.scheduler(launcher)
    with caplog.at_level(logging.WARNING):
        await scheduler.tick()
        await scheduler.tick()
    assert [record.message for record in caplog.records].count("install Java 17") == 1
    assert not launcher.launched
    assert "due_shard" in await stand.customer("fam-1")


async def _left_behind(stand: Bench, state: State) -> Run:
    """What a trigger leaves that died in this state."""
    await stand.make_due("fam-1", "fam-2")
    now_ms = stand.clock.now_ms
    run = Run(APP, new_run_id(now_ms), State.LAUNCHING, now_ms, launcher="scripted", customers_due=2)
    dead = stand.scheduler(ScriptedLauncher())
    await dead._customers.remember(run, [DueCustomer(c, now_ms, 100) for c in ("fam-1", "fam-2")])
    store = stand.store("dead")
    assert await store.begin(run, now_ms + 30_000)
    await stand.write_output(run, ["fam-1", "fam-2"])
    await store.save(run.advanced(state, reason="it broke" if state is State.FAILED else ""))
    return run


@pytest.mark.parametrize("state", [State.LAUNCHING, State.RUNNING, State.PUBLISHING])
async def test_run_of_a_dead_trigger_is_carried_on_once_its_lease_is_over(stand: Bench, state: State):
    run = await _left_behind(stand, state)
    launcher = _launcher(stand)
    launcher.launched.append(run.run_id)
    await _serve(stand.scheduler(launcher))
    assert await stand.pointer() is None
    stand.clock.move(30)
    await _serve(stand.scheduler(launcher))
    assert launcher.launched == [run.run_id], "what was launched already is adopted"
    assert await stand.pointer() == run.run_id
    assert (await stand.store().run(APP, run.run_id)).state is State.DONE
    assert (await stand.customer("fam-1"))["events_since_training"] == 0


async def test_failure_that_a_dead_trigger_did_not_tell_is_told_by_the_next(stand: Bench):
    heard = await stand.operations_queue()
    run = await _left_behind(stand, State.FAILED)
    stand.clock.move(30)
    await _serve(stand.scheduler(ScriptedLauncher()))
    assert [alert["run_id"] for alert in await stand.heard(heard)] == [run.run_id]
    assert await stand.store().lock(APP) is None


async def test_customers_are_set_back_once_however_often_a_run_is_carried_on(stand: Bench):
    run = await _left_behind(stand, State.PUBLISHING)
    customers = stand.scheduler(ScriptedLauncher())._customers
    await customers.served(run)
    await stand.count_more("fam-1", 7)
    await customers.served(run)
    assert (await stand.customer("fam-1"))["events_since_training"] == 7


async def test_trigger_that_lost_its_lease_can_change_nothing(stand: Bench):
    run = await _left_behind(stand, State.PUBLISHING)
    late, next_one = stand.store("dead"), stand.store("next")
    assert await next_one.take_over(APP, await next_one.lock(APP), stand.clock.now_ms + 30_000)
    with pytest.raises(LeaseLostError):
        await late.renew(run, stand.clock.now_ms + 60_000)
    with pytest.raises(LeaseLostError):
        await late.save(run.advanced(State.FAILED))
    publisher = Publisher(stand.clients["dynamodb"], stand.clients["s3"], stand.names, late)
    with pytest.raises(LeaseLostError):
        await publisher.publish(run, stand.clock.now_ms)
    assert await stand.pointer() is None
    assert (await stand.store().run(APP, run.run_id)).state is State.PUBLISHING


async def test_output_that_is_not_whole_leaves_the_old_version_served(stand: Bench):
    old = keys.recommendation_pointer(APP)
    await stand.put("recommendations", old, run_id="20200101T000000000Z-0", published_at_ms=1)
    run = await _left_behind(stand, State.PUBLISHING)
    await stand.write_output(run, ["fam-1"], claimed=2)
    publisher = Publisher(stand.clients["dynamodb"], stand.clients["s3"], stand.names, stand.store("dead"))
    with pytest.raises(PermanentError, match="holds 1 lists, its manifest says 2"):
        await publisher.publish(run, stand.clock.now_ms)
    assert await stand.pointer() == "20200101T000000000Z-0"


async def test_older_run_never_replaces_a_newer_one(stand: Bench):
    await stand.put("recommendations", keys.recommendation_pointer(APP), run_id="9", published_at_ms=1)
    run = await _left_behind(stand, State.PUBLISHING)
    publisher = Publisher(stand.clients["dynamodb"], stand.clients["s3"], stand.names, stand.store("dead"))
    with pytest.raises(PermanentError, match="newer"):
        await publisher.publish(run, stand.clock.now_ms)


async def test_more_lists_than_fit_one_batch_are_all_published(stand: Bench):
    customers = tuple(f"fam-{n}" for n in range(251))
    await stand.make_due("fam-1", "fam-2")
    await _serve(stand.scheduler(launcher := _launcher(stand, customers=customers)))
    for customer_id in customers:
        assert await stand.get(
            "recommendations", keys.recommendations(APP, customer_id, launcher.launched[0])
        )


async def test_run_that_takes_too_long_is_ended_and_has_failed(stand: Bench):
    await stand.make_due("fam-1", "fam-2")
    launcher = _launcher(stand, RUNNING)

    async def let_time_pass(run: Run) -> None:
        stand.clock.move(21)

    launcher.on_launch = let_time_pass
    await _serve(stand.scheduler(launcher, training_max_run_seconds=20))
    assert launcher.launched[0] in launcher.terminated
    assert "longer than 20 s" in (await _last(stand)).reason


async def _without_training_bucket(stand: Bench, _: Run) -> None:
    bucket, s3 = stand.names.of("training"), stand.clients["s3"]
    for entry in (await s3.list_objects_v2(Bucket=bucket))["Contents"]:
        await s3.delete_object(Bucket=bucket, Key=entry["Key"])
    await s3.delete_bucket(Bucket=bucket)


async def _with_nonsense_of_who_was_due(stand: Bench, run: Run) -> None:
    await stand.clients["s3"].put_object(
        Bucket=stand.names.of("training"), Key=f"{run.folder}due.json", Body=b"[[1]]"
    )


@pytest.mark.parametrize("broken", [_without_training_bucket, _with_nonsense_of_who_was_due])
async def test_run_that_cannot_be_published_fails_in_the_end_and_gives_its_lock_back(stand: Bench, broken):
    heard = await stand.operations_queue()
    run = await _left_behind(stand, State.PUBLISHING)
    await broken(stand, run)
    stand.clock.move(stand.settings.training_max_run_seconds + 3601)
    await _serve(stand.scheduler(ScriptedLauncher()))
    after = await stand.store().run(APP, run.run_id)
    assert (after.state, after.cause) == (State.FAILED, Cause.DEADLINE)
    assert [alert["run_id"] for alert in await stand.heard(heard)] == [run.run_id]
    assert await stand.store().lock(APP) is None


async def test_trigger_that_stops_leaves_its_run_to_the_next_at_once(stand: Bench):
    await stand.make_due("fam-1", "fam-2")
    launcher = _launcher(stand, RUNNING)
    begun = asyncio.Event()

    async def begin(run: Run) -> None:
        await stand.write_output(run, ["fam-1", "fam-2"])
        begun.set()

    launcher.on_launch = begin
    scheduler = stand.scheduler(launcher)
    await scheduler.tick()
    await begun.wait()
    await scheduler.close()
    launcher.script = [SUCCEEDED]
    await _serve(stand.scheduler(launcher))
    assert len(launcher.launched) == 1
    assert await stand.pointer() == launcher.launched[0]


async def test_trigger_that_stops_before_it_launched_leaves_that_to_the_next(stand: Bench):
    await stand.make_due("fam-1", "fam-2")
    launcher = _launcher(stand)
    scheduler = stand.scheduler(launcher)
    await scheduler.tick()
    await scheduler.close()
    await _serve(stand.scheduler(launcher))
    assert len(launcher.launched) == 1
    assert await stand.pointer() == launcher.launched[0]


async def test_run_on_the_emulators_emr_is_followed_to_its_end_and_found_again_by_its_name(stand: Bench):
    """The emulator runs nothing and says at once that all is done: the manifest decides then."""
    settings = stand.settings.model_copy(update={"emr_subnet_ids": "subnet-1, subnet-2"})

    class Writing(EmrLauncher):
        async def launch(self, run: Run) -> str:
            await stand.write_output(run, ["fam-1", "fam-2"])
            return await super().launch(run)

    async with AwsClients(settings) as aws:
        emr = await aws.open("emr")
        await stand.make_due("fam-1", "fam-2")
        launcher = Writing(emr, stand.clients["s3"], settings)
        await _serve(stand.scheduler(launcher))
        run = await _last(stand)
        assert (run.state, await stand.pointer()) == (State.DONE, run.run_id), run.reason
        assert await launcher.find(run) == run.handle
        cluster = (await emr.describe_cluster(ClusterId=run.handle))["Cluster"]
        assert cluster["AutoTerminate"]
        assert not cluster["TerminationProtected"]


async def _needs_java() -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    if await find_java_home(None) is None:
        pytest.skip("Java 17 is not installed")


@pytest.mark.spark
async def test_spark_learns_tastes_that_beat_what_is_popular_and_its_lists_are_served(settings: CoreSettings):
    await _needs_java()
    async with bench(settings, training_local_cores=2, training_max_run_seconds=10**6) as stand:
        await stand.fill_archive(customers=120, per_customer=40, contents=320)
        await stand.make_due("fam-0000", "fam-0001")
        launcher = LocalLauncher(stand.clients["s3"], stand.settings)
        await _serve(stand.scheduler(launcher))
        run = await _last(stand)
        assert (run.state, run.published) == (State.DONE, True), run.reason
        assert await stand.pointer() == run.run_id
        own, others = 0, 0
        for number in range(120):
            key = keys.recommendations(APP, f"fam-{number:04d}", run.run_id)
            for item in (await stand.get("recommendations", key))["items"][:5]:
                is_own = int(item["content_id"].removeprefix("story-")) % 4 == number % 4
                own, others = own + is_own, others + (not is_own)
        assert own > 2 * others


async def test_log_of_a_spark_that_fails_is_kept_where_the_run_says(stand: Bench, tmp_path: Path):
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(
        "#!/bin/sh\n"
        '[ "$1" = -version ] && { echo \'openjdk version "17.0.1"\' >&2; exit 0; }\n'
        "echo 'java.lang.Error: no room' >&2; exit 3\n"
    )
    java.chmod(0o755)
    launcher = LocalLauncher(stand.clients["s3"], stand.settings.model_copy(update={"java_home": tmp_path}))
    await stand.make_due("fam-1", "fam-2")
    await _serve(stand.scheduler(launcher))
    run = await _last(stand)
    assert (run.state, run.cause) == (State.FAILED, Cause.JOB)
    assert "no room" in run.reason
    assert run.log_uri is not None
    bucket, key = run.log_uri.removeprefix("s3://").split("/", 1)
    body = await stand.clients["s3"].get_object(Bucket=bucket, Key=key)
    assert b"no room" in await body["Body"].read()


@pytest.mark.spark
async def test_file_that_is_merged_after_it_was_listed_is_not_missed(stand: Bench, tmp_path: Path):
    s3, bucket = stand.clients["s3"], stand.names.of("archive")

    run = Run(APP, new_run_id(stand.clock.now_ms), State.LAUNCHING, stand.clock.now_ms)
    keys = [key async for key in keys_under(s3, bucket, run.archive_prefix)]
    await LocalLauncher(_Deleting(s3, keys[0]), stand.settings)._stage(run, tmp_path)
    assert _files(tmp_path) == len(keys) - 1 > 1


def _files(folder: Path) -> int:
    return len(list(folder.iterdir()))


class _Deleting:
    """S3 from which compaction deletes a file as soon as somebody fetches."""

    def __init__(self, s3, key: str) -> None:
        self._s3, self._key = s3, key

    async def get_object(self, **request):
        await self._s3.delete_object(Bucket=request["Bucket"], Key=self._key)
        return await self._s3.get_object(**request)

    def __getattr__(self, name: str):
        return getattr(self._s3, name)


async def test_spark_that_is_let_go_leaves_neither_process_nor_folder(
    stand: Bench, tmp_path: Path, monkeypatch
):
    await _needs_java()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    launcher = LocalLauncher(stand.clients["s3"], stand.settings)
    run = Run(APP, "r1", State.RUNNING, stand.clock.now_ms)
    await launcher.launch(run)
    await asyncio.to_thread(_until_there, tmp_path)
    assert (await launcher.status(run)).progress is Progress.RUNNING
    await launcher.let_go(run)
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    assert (await launcher.status(run)).progress is Progress.FAILED
    assert shutil.which("ps") is None or str(tmp_path) not in await _processes()


def _until_there(folder: Path) -> None:
    while not list(folder.glob("*/errors.log")):
        time.sleep(0.02)


async def _processes() -> str:
    process = await asyncio.create_subprocess_exec("ps", "ax", "-o", "args", stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode()
