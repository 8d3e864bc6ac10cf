"""What the local launcher decides without starting Spark."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kinstream.settings import CoreSettings
from recommender_trigger.launchers import java, leash, local
from recommender_trigger.launchers.local import LocalLauncher, last_error
from recommender_trigger.settings import TriggerSettings


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_391"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ("command not found", None),
    ],
)
def test_java_version_is_read_from_what_java_prints(text: str, major: int | None):
    assert java.major_version(text) == major


async def test_without_java_the_launcher_says_how_to_install_it(tmp_path: Path):
    launcher = LocalLauncher(None, TriggerSettings(java_home=tmp_path))
    missing = await launcher.unavailable()
    assert missing is not None
    assert "Java 17" in missing
    assert "install" in missing


def test_reason_of_a_failure_is_the_line_that_names_the_error():
    log = "INFO starting\norg.apache.spark.SparkException: file is not Parquet\nINFO shutdown hook called\n"
    assert last_error(log) == "org.apache.spark.SparkException: file is not Parquet"
    assert last_error("") == "it said nothing"


def test_settings_are_read_under_the_prefix_and_share_the_threshold(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KINSTREAM_TRAINING_MIN_DUE_CUSTOMERS", "3")
    monkeypatch.setenv("KINSTREAM_ACTIVITY_TRAINING_THRESHOLD_EVENTS", "7")
    settings = TriggerSettings()
    assert settings.policy.min_due_customers == 3
    assert settings.due_threshold_events == 7
    assert isinstance(settings, CoreSettings)


def test_files_of_a_killed_process_are_removed_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f"kinstream-training-{dead.pid}-x").mkdir()
    (tmp_path / f"kinstream-training-{os.getpid()}-x").mkdir()
    local._new_folder()
    left = {path.name.rpartition("-")[0] for path in tmp_path.iterdir()}
    assert left == {f"kinstream-training-{os.getpid()}"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_command_on_the_leash_dies_with_a_killed_parent(tmp_path: Path):
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(120)"
    parent = (
        "import os, subprocess, sys\n"
        f"leash, child = {leash.__file__!r}, {child!r}\n"
        "command = [sys.executable, leash, str(os.getpid()), sys.executable, '-c', child]\n"
        "subprocess.Popen(command).wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    try:
        _until(lambda: pid_file.exists() and pid_file.read_text() != "")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    _until(lambda: not _is_alive(int(pid_file.read_text())))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] != "Z"


def _until(holds) -> None:
    while not holds():
        time.sleep(0.02)
