"""`kinstream deploy-local`: what it says of a plan and of errors, and how it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from click.testing import CliRunner
from rich.console import Console

from kinstream.errors import PermanentError, RetryableError
from kinstream_devkit.cli import main
from kinstream_devkit.demo.show import Show
from kinstream_devkit.deployment.cloud import in_words
from kinstream_devkit.deployment.emulator import is_its_tag
from kinstream_devkit.deployment.engine import attempt_all, containers, docker, remove_containers, socket_path
from kinstream_devkit.deployment.expected import changed, kept, seconds_in_words, words_of
from kinstream_devkit.deployment.interruptions import end_by_signals, undisturbed
from kinstream_devkit.deployment.run import running_emulator
from kinstream_devkit.deployment.terraform import Terraform


def test_types_that_a_plan_touches_are_told_without_those_that_it_only_reads():
    actions = {"a": ["no-op"], "b": ["update"], "c": ["delete", "create"], "d": ["read"]}
    changes = [
        {"type": kind, "mode": "managed", "change": {"actions": what}} for kind, what in actions.items()
    ]
    data = {"type": "e", "mode": "data", "change": {"actions": ["create"]}}
    assert changed({"resource_changes": [*changes, data]}) == {"b", "c"}
    assert changed({}) == set()


def test_errors_of_terraform_come_to_the_resource_and_what_to_do():
    errors = """
Error: creating SQS Queue (kin-uploads): dial tcp 127.0.0.1:4566: connect: connection refused

  with module.stack.module.uploads_queue.aws_sqs_queue.this,
  on ../../modules/queue/main.tf line 3, in resource "aws_sqs_queue" "this":
"""
    words = words_of(errors)
    assert words.startswith("module.stack.module.uploads_queue.aws_sqs_queue.this: creating SQS Queue")
    assert "What to do: the emulator is away" in words


def test_errors_that_name_no_resource_are_told_as_they_are():
    assert words_of("Error: Unsupported Terraform Core version\n") == (
        "Terraform: Unsupported Terraform Core version"
    )
    assert words_of("killed") == "killed"


def test_time_is_told_in_minutes_and_seconds():
    assert [seconds_in_words(seconds) for seconds in (0, 59.4, 60, 425)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "7 min 05 s",
    ]


@pytest.mark.usefixtures("handlers")
def test_outside_of_the_repository_it_says_where_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(main, ["deploy-local"])
    assert told.exit_code == 2
    assert "run this in the repository's folder" in told.output


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `docker` that notes in `calls` what it is asked, and does what the file `script` says."""
    folder = tmp_path / "engine"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(f'#!/bin/sh\ncd {folder}\necho "$*" >>calls\n. ./script\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    # What it cleans up in there is not this machine's.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return folder


@pytest.fixture
def handlers() -> Iterator[None]:
    """Of signals: afterwards as they were."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_persons_own_settings_are_not_copied(tmp_path: Path):
    environment = tmp_path / "terraform" / "envs" / "dev"
    environment.mkdir(parents=True)
    left = ("terraform.tfvars", "my.auto.tfvars", "my.auto.tfvars.json", "backend.hcl", "terraform.tfstate")
    for name in (*left, "main.tf"):
        (environment / name).write_text("")
    copied = Terraform(tmp_path / "terraform", tmp_path / "copy", "dev", {"prefix": "kin"}).folder
    assert {path.name for path in copied.iterdir()} == {
        "main.tf",
        "local_override.tf",
        "local.auto.tfvars.json",
    }


def test_container_that_vanishes_while_others_are_looked_at_is_no_error(engine: Path):
    (engine / "script").write_text("""
case $1 in
    ps) [ -e gone ] && echo b || echo a b ;;
    inspect | rm) [ -e gone ] || { touch gone; echo "no such container: a" >&2; exit 1; }; echo '["b"]' ;;
esac
""")
    assert containers("name=x") == ["b"]
    (engine / "gone").unlink()
    assert remove_containers("name=x") == 1


def test_each_step_is_tried_and_what_failed_is_told_at_the_end():
    done = []

    def fail(why: str) -> None:
        raise PermanentError(why)

    with pytest.raises(PermanentError, match=r"^one\ntwo$"):
        attempt_all(
            [lambda: fail("one"), lambda: done.append(1), lambda: fail("two"), lambda: done.append(2)]
        )
    assert done == [1, 2]


def test_second_start_takes_nothing_from_the_first(engine: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "infra" / "terraform").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (engine / "script").write_text('[ "$1 $2" != "network create" ] || exit 1')
    with (
        pytest.raises(PermanentError, match="another deploy-local runs"),
        running_emulator(True, Show(Console(quiet=True))),
    ):
        pass
    calls = (engine / "calls").read_text().splitlines()
    assert not [call for call in calls if call.split()[0] in ("pull", "build", "tag", "rm", "rmi", "run")]
    assert "network rm kinstream-deploy-local" not in calls


def test_first_error_is_told_with_the_emulators_last_words_however_the_clean_up_ends(
    engine: Path, tmp_path: Path, monkeypatch, capsys
):
    (tmp_path / "infra" / "terraform").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (engine / "script").write_text("""
case "$1 $2" in
    "image inspect" | "network inspect" | "network create" | tag*) exit 0 ;;
    run*) echo "no room" >&2; exit 1 ;;
    logs*) echo "its [last] words" >&2 ;;
    "network rm") echo "network busy" >&2; exit 1 ;;
    images*) echo 000000000000.dkr.ecr.us-east-1.amazonaws.com/kin/ingest-api:local-1 ;;
esac
""")
    with pytest.raises(PermanentError, match="no room"), running_emulator(False, Show(Console())):
        pass
    told = capsys.readouterr().out
    assert "its [last] words" in told
    assert "network busy" in told
    assert "rmi --no-prune 000000000000.dkr" in (engine / "calls").read_text()


def test_names_of_images_that_are_its_own():
    assert is_its_tag("000000000000.dkr.ecr.us-east-1.amazonaws.com/kin/ingest-api:local-4f2a")
    assert is_its_tag("kinstream-deploy-local/redis:7-alpine")
    assert not is_its_tag("000000000000.dkr.ecr.us-east-1.amazonaws.com/kin/ingest-api:dev")
    assert not is_its_tag("kinstream/ingest-api:latest")
    assert not is_its_tag("redis:7-bookworm")


def test_socket_is_where_docker_says():
    assert socket_path({}) == "/var/run/docker.sock"
    assert socket_path({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}) == "/run/user/1000/docker.sock"
    with pytest.raises(PermanentError, match="unset DOCKER_HOST"):
        socket_path({"DOCKER_HOST": "tcp://10.0.0.1:2376"})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("handlers")
def test_signals_end_it_but_not_while_it_cleans_up(number: signal.Signals):
    end_by_signals()
    with undisturbed():
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_hang_up_ends_it_and_what_it_says_from_then_on_goes_nowhere():
    program = """
import signal, sys
from kinstream_devkit.deployment.interruptions import end_by_signals
end_by_signals()
try:
    signal.raise_signal(signal.SIGHUP)
except KeyboardInterrupt:
    print("said to nobody", flush=True)
    sys.exit(130)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.usefixtures("handlers")
def test_nohup_is_heeded():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_by_signals()
    signal.raise_signal(signal.SIGHUP)


def test_docker_hears_nothing_of_this_processs_ctrl_c(engine: Path):
    (engine / "script").write_text("ps -o sid= -p $$")
    assert int(docker("info")) != os.getsid(0)


def test_errors_of_awss_client_are_told_in_words():
    refused = ClientError({"Error": {"Code": "ClusterNotFoundException", "Message": "none"}}, "ListTasks")
    for error in (refused, EndpointConnectionError(endpoint_url="http://127.0.0.1:1")):
        with pytest.raises(RetryableError, match="the emulator has not done"), in_words():
            raise error


def test_problems_of_what_is_kept_are_counted():
    assert kept("URL", 0) == "checked, as it must be; the API is at URL; Ctrl-C destroys it"
    assert "checked, 1 problem, told" in kept("URL", 1)
    assert "checked, 2 problems, told" in kept("URL", 2)
