"""`kinstream demo` as a user calls it: the whole of it in one command, and an exit code to rely on."""

import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kinstream_devkit.generate.media import write_photo
from kinstream_devkit.generate.world import generate
from tests.support.stack import kinstream, running_stack

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.xdist_group("whole stack")]


def kinstream_demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).with_name("kinstream")),
        "demo",
        "--report",
        "report.html",
        *arguments,
    ]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1_500,
    )


def test_the_demo_agrees_with_the_reference_in_everything_and_its_archive_with_what_is_served(tmp_path):
    done = kinstream_demo(tmp_path, "--customers", "120", "--seed", "3", "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "results agree with the reference" in done.stdout
    assert "birthday.3gp" in done.stdout
    assert "data:image/jpeg;base64," in (tmp_path / "report.html").read_text()
    (kept,) = tmp_path.glob("kinstream-demo-*/stack")
    with running_stack(kept):
        audited = kinstream("audit", "--wait", "240", "--data-dir", str(kept))
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert "no drift" in audited.stdout


def test_the_demo_takes_files_of_the_users_own_and_names_what_is_wrong_with_them(tmp_path):
    good = generate(5, 16, datetime.now(UTC)).accepted[:400]
    lines = [json.dumps(event) for event in [*good, {"type": "content.viewed", "customer_id": "fam"}]]
    (tmp_path / "mine.ndjson.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    write_photo(tmp_path / "mine.jpg", 800, 600, 6)
    (tmp_path / "broken.3gp").write_bytes(b"this is no video at all" * 100)
    done = kinstream_demo(
        tmp_path, "--events", "mine.ndjson.gz", "--media", "mine.jpg", "broken.3gp", "--customers", "16"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 rejected" in done.stdout
    assert "failed" in done.stdout


def test_a_file_that_is_not_there_is_named(tmp_path):
    done = kinstream_demo(tmp_path, "--events", "nowhere.json")
    assert done.returncode == 2
    assert "nowhere.json" in done.stderr
