"""A run's page, what it costs, and the zip that goes with the job."""

import ast
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from recommender_trigger import job_package, plots
from recommender_trigger.cost import charges, total_usd, write_units
from recommender_trigger.domain.runs import Run, State, Usage
from recommender_trigger.job_package import package
from recommender_trigger.report import page

RUN = Run("photos", "r-1", State.PUBLISHING, 1_790_000_000_000, launcher="emr", customers_due=25)
METRICS = {
    "ndcg": 0.23,
    "ndcg_blend": 0.24,
    "ndcg_trending": 0.2,
    "warm_users": 109,
    "beta": 6.0,
    "coverage": 0.16,
    "coverage_blend": 0.05,
    "sweep": [[0.0, 0.18], [6.0, 0.24]],
    "sweep_users": 80,
    "windows_ms": [1, 2, 3],
}
MANIFEST = {
    "gate": {"publish": True, "reason": "NDCG@10 0.2300 & <more>"},
    "metrics": METRICS,
    "counts": {"rows": 80_003, "future": 3},
    "events_by_day": [[20_000, 5], [20_002, 9]],
    "refused_files": [{"file": "dt=2026-11-20/cut.parquet", "rows": None, "rows_lost": None}],
    "recommendations": {"customers": 943},
    "config": {"rank": 32},
    "seconds": 31.5,
}


def _charges(launcher: str = "emr", usage: Usage | None = None):
    return charges(launcher, machines=4, run_ms=900_000, usage=usage, written_units=2_000_000)


def test_page_tells_the_verdict_the_figures_what_was_refused_and_the_cost():
    text = page(RUN, MANIFEST, _charges())
    for told in ("published", "&amp; &lt;more&gt;", "0.2300", "80,003", "cut.parquet", "109", "$1.2500"):
        assert told in text
    assert text.count("<svg") == 3


def test_page_needs_nothing_from_elsewhere():
    text = page(RUN, MANIFEST, _charges())
    assert not re.search(r"(src|href)=|url\(|@import|<script", text)


def test_page_of_a_run_that_learnt_nothing_is_a_page_too():
    text = page(RUN, {"gate": {"publish": False, "reason": "the archive is empty"}}, _charges())
    assert "not published" in text
    assert "the archive is empty" in text


@pytest.mark.parametrize(
    "plot",
    [
        plots.bars([("<a & b>", 0.2), ("none", 0.0)]),
        plots.columns([("2026-01-01", 3)]),
        plots.columns([]),
        plots.line([(0.0, 0.1), (6.0, 0.1)], 6.0),
    ],
)
def test_plots_are_well_formed(plot: str):
    ET.fromstring(plot)  # noqa: S314 - our own text


def test_cost_is_of_machines_by_time_and_of_lists_by_size():
    machines, lists = _charges()
    assert machines.usd == pytest.approx(4 * 0.25 * (0.1632 + 0.0408))
    assert lists.usd == pytest.approx(1.25)
    assert _charges("local")[0].usd == 0
    assert "not estimated" in page(RUN, MANIFEST, _charges("emr-serverless"))
    assert total_usd(_charges("emr-serverless")) is None
    assert [write_units(size) for size in (1, 1024, 1025)] == [1, 1, 2]


def test_cost_of_a_job_run_is_of_what_all_its_attempts_have_used():
    run = RUN.used(Usage(1.5, 6.0, 0.0)).used(None).used(Usage(0.5, 2.0, 10.0))
    found = _charges("emr-serverless", run.usage)
    usd = 2 * 0.052624 + 8 * 0.0057785 + 10 * 0.000111
    assert found[0].usd == pytest.approx(usd)
    assert total_usd(found) == pytest.approx(usd + 1.25)
    text = page(run, MANIFEST, found)
    assert "2.00 vCPU hours, 8.00 GB hours" in text
    assert f"${usd:.4f}" in text


@pytest.mark.parametrize(
    "path", sorted(Path(job_package.__file__).parent.glob("job/*.py")), ids=lambda p: p.name
)
def test_job_is_written_in_the_python_that_emr_has(path: Path):
    ast.parse(path.read_text(), feature_version=(3, 9))


def test_package_is_the_same_for_the_same_code_and_can_be_imported_alone(tmp_path: Path):
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    assert package() == package()
    assert "recommender_trigger/job/model.py" in zipfile.ZipFile(io.BytesIO(package())).namelist()
    bundle = tmp_path / "job.zip"
    bundle.write_bytes(package())
    code = (
        f"import sys; sys.path.insert(0, {str(bundle)!r})\n"
        "import recommender_trigger.job.train as train\n"
        "assert 'job.zip' in train.__file__, train.__file__\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'kinstream']"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, env={"PYTHONPATH": ""})
