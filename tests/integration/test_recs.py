"""`kinstream recs` as an operator uses it, before tables and buckets filled by hand."""

import json
import os
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kinstream import keys
from kinstream.aws import blocking_client
from kinstream.dynamo import from_item, to_item
from kinstream.events import CONTENT_VIEWED, RECOMMENDATION_EXPOSED
from kinstream.resources import BUCKET_ARCHIVE, BUCKET_TRAINING, TABLE_RECOMMENDATIONS
from kinstream.settings import CoreSettings
from kinstream.versions import TRENDING, Versions, row_of, run_folder, versions_of
from kinstream_devkit.apps import Apps
from kinstream_devkit.cli.recs import recs
from kinstream_devkit.embedded.datadir import DataDir, StackState
from kinstream_devkit.provision import provision
from kinstream_devkit.recommendations_text import told as told_of
from recommender_trigger.domain.failures import Cause
from recommender_trigger.domain.runs import Run, State
from tests.support.archive_files import archived, files

APP = "photos"
OLD, NEW = "20261120T000000000Z-old", "20261121T000000000Z-new"
HOUR_MS = 3_600_000


class Desk:
    """A deployment and the command on it."""

    def __init__(self, settings: CoreSettings, folder: Path) -> None:
        self._names = settings.names
        self._folder = folder
        self.dynamodb, self.s3 = (blocking_client(name, settings) for name in ("dynamodb", "s3"))
        self.now_ms = time.time_ns() // 1_000_000

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        options = ["--app", APP, "--data-dir", str(self._folder)]
        done = CliRunner().invoke(recs, [*arguments, *options], catch_exceptions=True)
        assert (done.exit_code != 0) == fails, done.output
        return done.output if not fails or isinstance(done.exception, SystemExit) else str(done.exception)

    def put(self, key: keys.Key, values: dict[str, Any]) -> None:
        item = to_item({"pk": key[0], "sk": key[1], **values})
        self.dynamodb.put_item(TableName=self._names.of(TABLE_RECOMMENDATIONS), Item=item)

    def get(self, key: keys.Key) -> dict[str, Any]:
        answer = self.dynamodb.get_item(
            TableName=self._names.of(TABLE_RECOMMENDATIONS), Key=to_item({"pk": key[0], "sk": key[1]})
        )
        return from_item(answer.get("Item", {}))

    def versions(self) -> Versions:
        return versions_of(self.get(keys.recommendation_pointer(APP)))

    def run(self, run_id: str, state: State = State.DONE, **fields: Any) -> None:
        ended_at_ms = self.now_ms + 42_000 if state.is_end else None
        run = Run(APP, run_id, state, self.now_ms, ended_at_ms, "local", customers_due=7)
        self.put(keys.training_run(APP, run_id), asdict(run) | fields)

    def publish(self, *runs: str) -> None:
        versions = Versions()
        for run_id in runs:
            versions = versions.published(run_id, self.now_ms, self.now_ms)
        self.put(keys.recommendation_pointer(APP), row_of(versions))

    def store(self, bucket: str, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self._names.of(bucket), Key=key, Body=body)


@pytest.fixture
def desk(settings: CoreSettings, tmp_path: Path) -> Desk:
    provision(settings, [])
    made = Desk(settings, tmp_path)
    Apps(made.dynamodb, settings.names).create(APP, "secret")
    endpoint = str(settings.aws_endpoint_url)
    state = StackState(os.getpid(), "http://127.0.0.1:9", endpoint, "", "", settings.name_prefix, {})
    DataDir(tmp_path).write_state(state)
    return made


def test_status_tells_what_is_served_and_how_runs_went(desk: Desk):
    assert "what is trending" in desk("status")
    desk.publish(OLD, NEW)
    desk.run(OLD, published=True, reason="NDCG@10 0.2")
    failed = {"cause": Cause.JOB, "log_uri": "s3://kinstream-training/runs/log"}
    desk.run(NEW, State.FAILED, reason="Spark fell over", **failed)
    told = desk("status")
    assert f"served      {NEW}, its lists are kept until " in told
    assert f"log of {NEW}: s3://kinstream-training/runs/log" in told
    assert f"log of {OLD}" not in told
    assert f"before it   {OLD}" in told
    assert "Spark fell over" in told
    assert "42 s" in told


def test_reason_with_brackets_is_told_as_it_is(desk: Desk):
    reason = "no column [/customer_id] in [bold]x"
    desk.run(NEW, State.FAILED, reason=reason, cause=Cause.REFUSED, log_uri="s3://logs/x")
    told = desk("status")
    assert reason in told
    assert "refused" in told
    assert f"failed (refused) after 42 s: {reason}\nlog of {NEW}: s3://logs/x" in told_of(
        desk.get(keys.training_run(APP, NEW))
    )


def test_rollback_serves_the_version_before_and_says_when_there_is_none(desk: Desk):
    assert "trending is what is served now" in desk("rollback", fails=True)
    desk.publish(OLD, NEW)
    assert f"served now: {OLD}" in desk("rollback")
    assert (desk.versions().run_id, desk.versions().withdrawn) == (OLD, (NEW,))
    assert "--to trending" in desk("rollback", fails=True)
    assert "what is trending" in desk("rollback", "--to", TRENDING)
    assert desk.versions().run_id is None


def test_train_asks_for_a_run_and_follows_it_to_its_end(desk: Desk):
    desk.run(OLD)

    def trigger() -> None:
        while not desk.get(keys.training_request(APP)):
            time.sleep(0.05)
        desk.run(NEW, State.RUNNING)
        desk.run(NEW, published=False, reason="no better than trending")

    thread = threading.Thread(target=trigger)
    thread.start()
    told = desk("train")
    thread.join()
    assert f"run {NEW} done after 42 s, not published: no better than trending" in told
    assert "asked for a run" in desk("train", "--no-wait")


def test_show_tells_a_runs_figures_and_saves_its_report(desk: Desk, tmp_path: Path):
    assert "no run yet" in desk("show", fails=True)
    desk.publish(NEW)
    desk.run(NEW, published=True, reason="NDCG@10 0.2394")
    assert "the job left none" in desk("show", fails=True)
    manifest = {"metrics": {"ndcg": 0.2394}, "counts": {"rows": 80_003}, "refused_files": [{"file": "x"}]}
    desk.store(BUCKET_TRAINING, run_folder(APP, NEW) + "manifest.json", json.dumps(manifest).encode())
    told = desk("show")
    assert "0.2394" in told
    assert "80,003" in told
    assert "refused: x" in told
    desk.store(BUCKET_TRAINING, run_folder(APP, NEW) + "report.html", b"<html>")
    desk("show", NEW, "--report", str(tmp_path / "r.html"))
    assert (tmp_path / "r.html").read_bytes() == b"<html>"


def test_show_tells_a_customers_list_and_its_reasons(desk: Desk):
    desk.publish(OLD, NEW)
    assert "trending" in desk("show", "--customer", "fam-1")
    items = [{"content_id": "s-1", "score": 1.5, "because": ["s-0"]}]
    desk.put(keys.recommendations(APP, "fam-1", OLD), {"run_id": OLD, "items": items})
    told = desk("show", "--customer", "fam-1")
    assert OLD in told
    assert "because of s-0" in told


def test_experiment_is_begun_and_ended_and_what_makes_none_is_refused(desk: Desk):
    desk.publish(OLD, NEW)
    desk("split", "holdout", "trending=10%", f"{OLD}=0.2")
    experiment = desk.versions().experiment
    assert experiment is not None
    assert (experiment.name, [tuple(arm) for arm in experiment.arms]) == (
        "holdout",
        [(TRENDING, 0.1), (OLD, 0.2)],
    )
    assert "10%" in desk("status")
    assert "no arm" in desk("split", "x", "trending", fails=True)
    assert "there is no version r9" in desk("split", "x", "r9=10%", fails=True)
    assert "or give --end alone" in desk("split", fails=True)
    desk("split", "--end")
    assert desk.versions().experiment is None


def test_rollback_of_what_an_arm_serves_ends_the_experiment_and_says_so(desk: Desk):
    desk.publish(OLD, NEW)
    desk("split", "newer", f"{NEW}=50%")
    assert "experiment newer has ended" in desk("rollback")
    assert desk.versions().experiment is None


def _exposed(desk: Desk, customer: str, variant: str) -> dict[str, Any]:
    data = {"experiment": "holdout", "variant": variant, "run_id": None, "content_ids": ["s-1", "s-2"]}
    time_ms = desk.now_ms - 50 * HOUR_MS
    row = archived(f"x-{customer}", customer, None, time_ms, kind=RECOMMENDATION_EXPOSED, counted=False)
    return row | {"data": json.dumps(data)}


def _turned_to(desk: Desk, customer: str, content: str, hours_later: float) -> dict[str, Any]:
    time_ms = desk.now_ms - 50 * HOUR_MS + int(hours_later * HOUR_MS)
    return archived(f"v-{customer}-{content}-{hours_later}", customer, content, time_ms, kind=CONTENT_VIEWED)


def test_arms_are_compared_by_who_turned_to_what_it_was_shown(desk: Desk):
    assert "nothing to compare" in desk("evaluate")
    rows = []
    for number in range(100):
        variant, customer = (NEW, TRENDING)[number % 2], f"fam-{number}"
        rows += [_exposed(desk, customer, variant)] * 2
        if number < (60 if variant == NEW else 20):
            rows += [_turned_to(desk, customer, "s-1", 2), _turned_to(desk, customer, "s-2", 3)]
        else:
            # Too late, used before and again, and something that it was not shown.
            acts = (("s-1", 30), ("s-2", -1), ("s-2", 1), ("s-9", 1))
            rows += [_turned_to(desk, customer, content, hours) for content, hours in acts]
    for key, body in files(rows, APP).items():
        desk.store(BUCKET_ARCHIVE, key, body)
    told = desk("evaluate")
    assert "experiment holdout" in told
    assert "30 of 50 (60.0%)" in told
    assert "10 of 50 (20.0%)" in told
    assert "a clear difference" in told
    assert "50 of 50" in desk("evaluate", "--within", "48")
    assert "nothing to compare" in desk("evaluate", "--name", "another")
