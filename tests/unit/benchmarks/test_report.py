"""The table: every measured row is in it as it was measured, missed ones too."""

import json

from benchmarks.report import as_json, machine, markdown
from benchmarks.runner import Bench, MissingError, Result, ratio

ON = {"processor": "Abacus", "cores": "2", "system": "Linux 6", "python": "3.11.0", "load": "0.5"}
RESULTS = {
    "ingest-1": Result("3.10x (9.30 against 3.00 µs)", False, ["a note"], {"ratio": 3.1}),
    "video": Result("not measured", None, ["install ffmpeg"]),
    "thumbnails": Result("0.90x", True),
}


def _missing(bench):
    raise MissingError("install sharp")


def test_a_missed_row_is_shown_as_measured():
    assert "| at most 2.5x | 3.10x (9.30 against 3.00 µs) | **no** |" in markdown(RESULTS, ON)


def test_a_row_that_could_not_be_measured_says_what_to_install():
    table = markdown(RESULTS, ON)
    assert "| not measured | - |" in table
    assert "- video: install ffmpeg" in table


def test_the_report_names_its_machine():
    assert markdown(RESULTS, ON).startswith("Measured on Abacus, 2 cores, Linux 6, Python 3.11.0, load")
    assert set(machine()) == set(ON)


def test_the_json_holds_targets_and_figures():
    told = json.loads(json.dumps(as_json(RESULTS, ON, quick=True)))
    assert told["quick"] is True
    assert told["rows"]["ingest-1"]["reach"] == "at most 2.5x"
    assert told["rows"]["ingest-1"]["figures"] == {"ratio": 3.1}


def test_a_missing_peer_does_not_end_the_run(tmp_path):
    bench = Bench(quick=True, folder=tmp_path, cache=tmp_path, rows={"thumbnails": _missing})
    assert bench.measure("thumbnails") == Result("not measured", None, ["install sharp"])


def test_a_row_is_measured_once_however_many_need_it(tmp_path):
    calls = []

    def row(bench):
        calls.append(1)
        return Result("1", True, figures={"units": 4.0})

    bench = Bench(quick=True, folder=tmp_path, cache=tmp_path, rows={"a": row})
    assert [bench.figure("a", "units"), bench.figure("a", "units")] == [4.0, 4.0]
    assert calls == [1]


def test_a_ratio_is_of_the_medians():
    assert ratio([1, 2, 90], [1, 1, 1]) == 2
