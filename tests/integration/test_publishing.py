"""Publishing beside an operator who rolls back, and the report that each run leaves."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from kinstream import keys
from kinstream.errors import PermanentError
from kinstream.settings import CoreSettings
from kinstream.versions import TRENDING, Arm, Versions, row_of, versions_of
from recommender_trigger.domain.runs import Run, State, new_run_id
from recommender_trigger.publish import Publisher
from tests.support.recommender import APP, Bench, bench


@pytest.fixture
async def stand(settings: CoreSettings) -> AsyncIterator[Bench]:
    async with bench(settings) as made:
        yield made


async def _begun(stand: Bench, *, publish: bool = True) -> tuple[Run, Publisher]:
    """A run whose output lies there, and the publisher of the trigger that has its lock."""
    now_ms = stand.clock.now_ms
    run = Run(APP, new_run_id(now_ms), State.PUBLISHING, now_ms - 5000, launcher="scripted")
    store = stand.store("this one")
    assert await store.begin(run, now_ms + 30_000)
    await stand.write_output(run, ["fam-1"], publish=publish)
    return run, Publisher(stand.clients["dynamodb"], stand.clients["s3"], stand.names, store)


async def _versions(stand: Bench) -> Versions:
    return versions_of(await stand.get("recommendations", keys.recommendation_pointer(APP)))


async def _change(stand: Bench, versions: Versions) -> None:
    await stand.put("recommendations", keys.recommendation_pointer(APP), **row_of(versions))


async def test_pointer_remembers_versions_and_what_each_learnt_from(stand: Bench):
    await _change(stand, Versions().published("20200101T000000000Z-0", 1, 1))
    run, publisher = await _begun(stand)
    await publisher.publish(run, stand.clock.now_ms)
    versions = await _versions(stand)
    assert [version.run_id for version in versions.good] == [run.run_id, "20200101T000000000Z-0"]
    assert versions.good[0].as_of_ms == run.launched_at_ms


async def test_next_run_is_judged_against_the_recipe_that_is_served(stand: Bench):
    store = stand.store()
    assert await store.incumbent(APP) is None
    old = Versions().published("r1", 1, 1, "beta=4.0,rank=16")
    await _change(stand, old)
    assert await store.incumbent(APP) == "beta=4.0,rank=16"
    await _change(stand, old.rolled_back(2, TRENDING))
    assert await store.incumbent(APP) is None


async def test_experiment_goes_on_when_a_run_is_published(stand: Bench):
    old = Versions().published("20200101T000000000Z-0", 1, 1)
    await _change(stand, old.split("holdout", [Arm(TRENDING, 0.1)], 2))
    run, publisher = await _begun(stand)
    await publisher.publish(run, stand.clock.now_ms)
    experiment = (await _versions(stand)).experiment
    assert experiment is not None
    assert experiment.name == "holdout"


async def test_run_that_was_rolled_back_is_not_published_by_a_trigger_that_carries_it_on(stand: Bench):
    await _change(stand, Versions().published("20200101T000000000Z-0", 1, stand.clock.now_ms))
    run, publisher = await _begun(stand)
    await publisher.publish(run, stand.clock.now_ms)
    await _change(stand, (await _versions(stand)).rolled_back(stand.clock.now_ms, TRENDING))
    with pytest.raises(PermanentError, match="rolled back"):
        await publisher.publish(run, stand.clock.now_ms)
    assert (await _versions(stand)).run_id is None


async def test_publishing_again_changes_nothing_that_is_served(stand: Bench):
    run, publisher = await _begun(stand)
    for _ in range(2):
        assert (await publisher.publish(run, stand.clock.now_ms)).published
    assert [version.run_id for version in (await _versions(stand)).good] == [run.run_id]


@pytest.mark.parametrize("publish", [True, False])
async def test_report_lies_beside_the_manifest_whatever_the_gate_said(stand: Bench, publish: bool):
    run, publisher = await _begun(stand, publish=publish)
    await publisher.publish(run, stand.clock.now_ms)
    answer = await stand.clients["s3"].get_object(
        Bucket=stand.names.of("training"), Key=f"{run.folder}report.html"
    )
    async with answer["Body"] as body:
        text = (await body.read()).decode()
    assert "because of the figures" in text
    assert answer["ContentType"].startswith("text/html")


async def test_version_is_served_though_its_report_cannot_be_made(stand: Bench, caplog):
    run, publisher = await _begun(stand)
    bucket, key = stand.names.of("training"), f"{run.folder}manifest.json"
    answer = await stand.clients["s3"].get_object(Bucket=bucket, Key=key)
    async with answer["Body"] as body:
        manifest = msgspec.json.decode(await body.read())
    strange = msgspec.json.encode(manifest | {"metrics": "none"})
    await stand.clients["s3"].put_object(Bucket=bucket, Key=key, Body=strange)
    assert (await publisher.publish(run, stand.clock.now_ms)).published
    assert await stand.pointer() == run.run_id
    assert "report not written" in caplog.text
