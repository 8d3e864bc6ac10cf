"""The training job on archives as they should not be: real Spark, one session for all of it.

One archive holds every kind of damage at once, so that a few trainings are enough for all cases.
"""

import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.archive_files import DAY_MS, SCHEMA, archived, parquet, tastes
from tests.support.spark import lists_in, train_all

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1_200)]

AS_OF_MS = 1_790_000_000_000
END_MS = AS_OF_MS - 3_600_000
FLOOD_EVENTS = 1_000_000
FEW = ("--rank", "8", "--iterations", "4")


class Trained(NamedTuple):
    """What became of a training."""

    output: Path
    refused: str | None

    @property
    def manifest(self) -> dict[str, Any]:
        """Read as the trigger does."""
        manifest: dict[str, Any] = json.loads((self.output / "manifest.json").read_text())
        return manifest

    @property
    def lists(self) -> dict[str, list[str]]:
        return lists_in(self.output)

    @property
    def parts(self) -> list[bytes]:
        return [part.read_bytes() for part in sorted(self.output.glob("recommendations/part-*"))]


def _write(folder: Path, name: str, rows: Iterable[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    path.write_bytes(parquet(rows))
    return path


def _flood(folder: Path) -> None:
    """A customer with a million events of one day, as a script on a loose cable sends them."""
    numbers = range(FLOOD_EVENTS)
    columns = {
        "id": pa.array([f"flood-{n}" for n in numbers]),
        "type": ["content.viewed"] * FLOOD_EVENTS,
        "customer_id": ["fam-flood"] * FLOOD_EVENTS,
        "device_id": [""] * FLOOD_EVENTS,
        "occurred_at_ms": pa.array([END_MS - n * 40 for n in numbers], pa.int64()),
        "counted": [True] * FLOOD_EVENTS,
        "content_id": ["story-0000"] * FLOOD_EVENTS,
    }
    pq.write_table(pa.table(columns), folder / "flood.parquet")


def _opinions() -> list[dict]:
    """What fam-0000 wants to see no more, far behind its other events: too old for any cap but theirs."""
    kinds = (("content.hidden", "story-0004"), ("content.disliked", "story-0008"))
    return [
        archived(f"no-{content}", "fam-0000", content, END_MS - 90 * DAY_MS, kind=kind)
        for kind, content in kinds
    ]


def _hidden_names() -> list[dict]:
    """Names that nobody has ever turned to, hidden one after the other by a script."""
    return [
        archived(f"nix-{n}", "fam-0002", f"never-{n}", END_MS - 90 * DAY_MS - n, kind="content.hidden")
        for n in range(500)
    ]


def _bad_rows() -> list[dict]:
    ahead = [archived(f"ahead-{n}", "fam-0001", "story-0001", AS_OF_MS + 3 * DAY_MS) for n in range(3)]
    return [
        *ahead,
        archived("late", "fam-0001", "story-0001", AS_OF_MS + 5),
        archived("old", "fam-0001", "story-0001", 0) | {"occurred_at_ms": -5},
        archived("none", "fam-0001", None, END_MS),
        archived("", "fam-0001", "story-0001", END_MS),
        archived("x", None, "story-0001", END_MS),
        archived("early", "fam-0001", "story-0001", END_MS, counted=False),
        archived("screen", "fam-0001", None, END_MS, kind="screen.viewed"),
    ]


def _made_up() -> list[dict]:
    """Two customers who turn to a thousand names of their own each, all in the last hour."""
    return [
        archived(f"x{who}-{n}", f"fam-x{who}", f"zz-{who}-{n}", END_MS - n)
        for who in range(2)
        for n in range(1000)
    ]


def _break_files(folder: Path, whole: Path) -> None:
    content = whole.read_bytes()
    (folder / "cut.parquet").write_bytes(content[: len(content) // 2])
    (folder / "text.parquet").write_bytes(b"this is no Parquet")
    wrong = pa.Table.from_pylist(_bad_rows()[:1], schema=SCHEMA)
    times = pa.array(["yesterday"] * len(wrong))
    place = wrong.schema.get_field_index("occurred_at_ms")
    pq.write_table(wrong.set_column(place, "occurred_at_ms", times), folder / "types.parquet")


def _damaged(archive: Path) -> None:
    """All of it, in a folder a day as the archive has it."""
    folder = archive / "dt=2026-09-20"
    rows = tastes(120, 320, groups=4, per_customer=30, end_ms=END_MS)
    whole = _write(folder, "whole", rows)
    for part in range(20):
        _write(folder, f"part-{part}", rows[part * 50 : part * 50 + 50])
    _write(folder, "opinions", _opinions())
    _write(folder, "hidden", _hidden_names())
    _write(folder, "bad", _bad_rows())
    _write(folder, "none", [])
    _break_files(folder, whole)


class Shaken(NamedTuple):
    """Archives of which something moves while they are read."""

    merged: dict[str, Any]
    """A file goes that another one holds."""
    disturbed: dict[str, Any]
    """The bytes of a file do not come at first."""
    away: dict[str, Any]
    """They never come."""


def _reads(root: Path) -> list[dict[str, Any]]:
    """The three of them, in order."""
    rows = tastes(5, 20, groups=2, per_customer=4, end_ms=END_MS)
    _write(root / "merged", "all", rows)
    part = _write(root / "merged", "part", rows[:10])
    reads = [{"uri": (root / "merged").as_uri(), "moves": [[(str(part), str(root / "part"))]]}]
    for name in ("disturbed", "away"):
        path = _write(root / name, "one", rows)
        # Hadoop checks a local file by its sums: wrong ones are a disk or a network that fails.
        sums, aside = path.with_name(f".{path.name}.crc"), root / f"{name}.crc"
        aside.write_bytes(b"crc\0\0\0\2\0" + bytes(4 * (path.stat().st_size // 512 + 1)))
        back = [[(str(sums), str(aside))]] if name == "disturbed" else []
        reads.append({"uri": (root / name).as_uri(), "moves": [[(str(aside), str(sums))], *back]})
    return reads


class Runs(NamedTuple):
    """What became of everything."""

    trained: dict[str, Trained]
    shaken: Shaken


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Every training of this module, by name, and what else Spark read."""
    root = tmp_path_factory.mktemp("training")
    _damaged(root / "damaged")
    _write(root / "flood", "others", tastes(120, 320, groups=4, per_customer=30, end_ms=END_MS))
    _flood(root / "flood")
    _write(root / "flood", "made-up", _made_up())
    (root / "empty").mkdir()
    alone = [archived(f"e{n}", "fam-1", f"story-{n % 7}", END_MS - n * 3_600_000) for n in range(40)]
    _write(root / "alone", "one", alone)
    dislikes = [archived(f"e{n}", f"fam-{n}", "s-1", END_MS - n, kind="content.disliked") for n in range(5)]
    _write(root / "dislikes", "one", dislikes)
    _write(root / "too-broken", "one", alone)
    (root / "too-broken" / "two.parquet").write_bytes(b"this is no Parquet")
    # With beta given no sweep is needed, which is a training less.
    tolerant = ("--max-refused-share", "0.2", "--beta", "0.5")
    wanted = {
        "damaged": ("damaged", tolerant),
        "again": ("damaged", (*tolerant, "--incumbent", "beta=6.0,rank=4")),
        "flood": ("flood", ("--beta", "6", "--max-judged", "60", "--min-warm-users", "20")),
        "too broken": ("too-broken", ()),
        "empty": ("empty", ()),
        "no folder": ("nowhere", ()),
        "alone": ("alone", ("--beta", "6")),
        "dislikes": ("dislikes", ("--min-warm-users", "0")),
    }
    arguments, outputs = [], []
    for number, (archive, more) in enumerate(wanted.values()):
        outputs.append(root / f"output-{number}")
        uris = ["--archive", (root / archive).as_uri(), "--output", outputs[-1].as_uri()]
        arguments.append([*uris, "--run-id", "r1", "--as-of-ms", str(AS_OF_MS), *FEW, *more])
    told = train_all(tmp_path_factory.mktemp("spark"), arguments, _reads(root / "moving"))
    trained = {
        name: Trained(output, one.get("refused"))
        for name, output, one in zip(wanted, outputs, told[: len(wanted)], strict=True)
    }
    return Runs(trained, Shaken(*told[len(wanted) :]))


@pytest.fixture
def runs(everything: Runs) -> dict[str, Trained]:
    """Every training, by name."""
    return everything.trained


@pytest.fixture
def shaken(everything: Runs) -> Shaken:
    """What was read while files moved."""
    return everything.shaken


@pytest.fixture
def trained(runs: dict[str, Trained]) -> Trained:
    """The one of an archive with every kind of damage."""
    return runs["damaged"]


def test_broken_files_are_named_and_the_rest_is_learnt_from(trained: Trained):
    refused = {Path(file["file"]).name: file for file in trained.manifest["refused_files"]}
    assert set(refused) == {"cut.parquet", "text.parquet", "types.parquet"}
    assert refused["text.parquet"]["rows"] is None
    assert (refused["types.parquet"]["rows"], refused["types.parquet"]["rows_lost"]) == (1, 1)
    assert trained.manifest["gate"]["publish"], trained.manifest["gate"]


def test_every_row_is_accounted_for(trained: Trained):
    counts = trained.manifest["counts"]
    told = ("content", "other", "not_counted", "later", "future", "before_1970", "unnamed", "no_content")
    assert counts["rows"] == sum(counts[kind] for kind in told)
    assert counts["content"] == counts["used"] + counts["duplicates"] + counts["capped"]
    found = {kind: counts[kind] for kind in told[1:]}
    assert found == {
        "other": 1,
        "not_counted": 1,
        "later": 1,
        "future": 3,
        "before_1970": 1,
        "unnamed": 2,
        "no_content": 1,
    }
    assert counts["duplicates"] == 1000, "the parts repeat the whole"
    assert sum(count for _, count in trained.manifest["events_by_day"]) == counts["used"]


def test_customer_with_a_million_events_counts_for_no_more_than_a_day_may_and_makes_no_trend(
    runs: dict[str, Trained],
):
    flooded = runs["flood"]
    counts = flooded.manifest["counts"]
    assert (counts["capped"], counts["customers"]) == (FLOOD_EVENTS - 1000, 123)
    assert flooded.manifest["gate"]["publish"], flooded.manifest["gate"]
    firsts = [items[0] for items in flooded.lists.values()]
    assert firsts.count("story-0000") < len(firsts) / 4


def test_two_customers_with_made_up_contents_neither_move_the_windows_nor_fill_the_places_of_new_ones(
    runs: dict[str, Trained],
):
    flooded = runs["flood"]
    inner_ms, outer_ms, _ = flooded.manifest["metrics"]["windows_ms"]
    assert END_MS - outer_ms > DAY_MS
    assert outer_ms - inner_ms > DAY_MS
    shown = [item for items in flooded.lists.values() for item in items]
    assert not [item for item in shown if item.startswith("zz-")]


def test_model_is_judged_by_about_as_many_customers_as_are_asked_for(runs: dict[str, Trained]):
    assert 20 <= runs["flood"].manifest["metrics"]["warm_users"] < 100


def test_file_that_was_merged_while_it_was_read_is_not_missed(shaken: Shaken):
    assert shaken.merged == {"kinds": {"content": 20}, "broken": [], "rows": 20}


def test_file_that_cannot_be_fetched_for_a_moment_is_read_and_not_taken_for_broken(shaken: Shaken):
    assert shaken.disturbed == {"kinds": {"content": 20}, "broken": [], "rows": 20}


def test_file_that_cannot_be_fetched_at_all_fails_the_run(shaken: Shaken):
    assert shaken.away["refused"].startswith("UnreachableArchiveError: away/one.parquet cannot be fetched")


def test_nobody_is_recommended_what_it_has_touched_hidden_or_disliked(trained: Trained):
    rows = chain(tastes(120, 320, groups=4, per_customer=30, end_ms=END_MS), _opinions())
    lists = trained.lists
    for row in rows:
        assert row["content_id"] not in lists.get(row["customer_id"], [])
    assert all(len(set(items)) == len(items) for items in lists.values())


def test_contents_that_were_only_ever_hidden_do_not_make_the_model_larger(trained: Trained):
    turned_to = {row["content_id"] for row in tastes(120, 320, groups=4, per_customer=30, end_ms=END_MS)}
    assert trained.manifest["counts"]["contents"] == len(turned_to)


def test_lists_follow_tastes_and_say_because_of_what(trained: Trained):
    own = others = 0
    for customer, items in trained.lists.items():
        of_group = [int(item[-4:]) % 4 == int(customer[-4:]) % 4 for item in items[:5]]
        own, others = own + sum(of_group), others + 5 - sum(of_group)
    assert own > 2 * others
    line = json.loads(next(iter(trained.output.glob("recommendations/part-*"))).read_text().splitlines()[0])
    reasons = [reason for item in line["items"] for reason in item["because"]]
    assert reasons
    assert not set(reasons) & set(trained.lists[line["customer_id"]])


def test_same_archive_and_seed_give_the_same_bytes(runs: dict[str, Trained]):
    once, again = runs["damaged"], runs["again"]
    assert again.parts == once.parts
    figures = again.manifest["metrics"]
    assert figures.pop("ndcg_incumbent") > 0, "another recipe was learnt on the same events"
    assert figures == once.manifest["metrics"]


def test_archive_of_which_too_much_is_broken_fails_the_run_with_the_reason(runs: dict[str, Trained]):
    refused = runs["too broken"]
    assert "1 of 2 files cannot be read" in (refused.refused or "")
    assert not refused.output.exists()


@pytest.mark.parametrize("name", ["empty", "no folder"])
def test_empty_archive_publishes_nothing_and_says_why(runs: dict[str, Trained], name: str):
    assert runs[name].manifest["gate"] == {
        "publish": False,
        "reason": "the archive holds no content events to learn from",
    }
    assert (runs[name].lists, runs[name].manifest["counts"]["rows"]) == ({}, 0)


def test_single_customer_is_too_few_to_judge_by(runs: dict[str, Trained]):
    gate = runs["alone"].manifest["gate"]
    assert not gate["publish"]
    assert "warm users" in gate["reason"]


def test_customers_who_only_ever_disliked_leave_nothing_to_learn(runs: dict[str, Trained]):
    assert not runs["dislikes"].manifest["gate"]["publish"]
