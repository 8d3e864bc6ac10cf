"""`kinstream new-processor`: what it writes is in order at once; what would not be, it refuses in words."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kinstream.errors import PermanentError
from kinstream_devkit.new_processor import MAX_NAME_CHARACTERS, PROCESSORS_FOLDER, plan, write
from session_worker.processor import discover
from tests.support.repository import repository_copy, run_in

EXAMPLES = [processor.example for processor in discover()]
LONG = "a" + "-bcdef" * 5 + "x"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / PROCESSORS_FOLDER).mkdir(parents=True)
    return tmp_path


def test_written_processor_passes_every_check_at_once(tmp_path: Path):
    copy = repository_copy(tmp_path / "copy")
    made = run_in(copy, "kinstream", "new-processor", "x-rays", "--handles", "x.taken", "x.seen")
    assert made.returncode == 0, made.stderr
    processor, test, generated = [line.removesuffix(" written") for line in made.stdout.splitlines()]
    assert '"x-rays"' in (copy / generated).read_text()
    for check in (
        ["ruff", "format", "--check", processor, test],
        ["ruff", "check", processor, test],
        ["mypy", processor],
        ["kinstream", "processors", "--check"],
        ["pytest", "-p", "no:cacheprovider", test, "tests/contract/test_processors.py"],
    ):
        done = run_in(copy, *check)
        assert done.returncode == 0, f"{' '.join(check)}:\n{done.stdout}{done.stderr}"
    again = run_in(copy, "kinstream", "new-processor", "x-rays", "--handles", "x.taken")
    assert again.returncode == 2
    assert "is there already" in again.stderr


@pytest.mark.parametrize("name", ["a", "screen-time", "n" * MAX_NAME_CHARACTERS, LONG])
@pytest.mark.parametrize(
    "handles",
    [
        ["location.updated"],
        ["content.viewed", "content.liked", "content.viewed"],
        [f"{'some_thing' * 4}.was_done_{n}" for n in range(9)],
    ],
    ids=["one", "twice", "many"],
)
def test_written_files_are_in_the_formatters_form(root: Path, name: str, handles: Sequence[str]):
    written = write(root, plan(name, handles, EXAMPLES))
    config = ["--config", str(Path("pyproject.toml").absolute())]
    for command in (["format", "--check"], ["check", "--select", "E"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *config, "--no-cache", *written],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_example_of_a_type_with_a_payload_has_one():
    assert plan("x", ["content.unliked"], EXAMPLES).example_data == {"content_id": "story-7"}
    assert plan("x", ["location.updated"], EXAMPLES).example_data["accuracy_m"] == 12
    assert plan("x", ["screen.used"], EXAMPLES).example_data == {}


@pytest.mark.parametrize(
    "name",
    ["", "Screen", "screen_time", "1st", "-x", "x-", "a--b", "ä", "x/../y", "n" * (MAX_NAME_CHARACTERS + 1)],
)
def test_name_that_is_none_is_refused_in_words(name: str):
    with pytest.raises(PermanentError, match=r"is no name of a processor: .*such as screen-time"):
        plan(name, ["a.b"], [])


@pytest.mark.parametrize("name", ["all", "customer", "trend", "x-dlq", "import", "json", "event", "reducer"])
def test_name_that_means_something_already_is_refused(name: str):
    with pytest.raises(PermanentError, match=r"means|share|taken"):
        plan(name, ["a.b"], [])


@pytest.mark.parametrize("event_type", ["", "viewed", "Content.Viewed", "a.b c", "a." + "b" * 63])
def test_type_that_is_none_is_refused_in_words(event_type: str):
    with pytest.raises(PermanentError, match=r"is no type of event: write noun\.past_verb"):
        plan("x", ["content.viewed", event_type], [])


def test_no_type_at_all_is_refused():
    with pytest.raises(PermanentError, match="--handles"):
        plan("x", [], [])


def test_file_that_exists_is_left_as_it_is(root: Path):
    first = plan("x", ["a.b"], [])
    paths = write(root, first)
    (root / paths[0]).unlink()
    (root / paths[1]).write_text("mine")
    with pytest.raises(PermanentError, match="is there already"):
        write(root, first)
    assert (root / paths[1]).read_text() == "mine"
    assert not (root / paths[0]).exists()


def test_folder_of_something_else_is_refused(tmp_path: Path):
    with pytest.raises(PermanentError, match="is not Kinstream's folder"):
        write(tmp_path, plan("x", ["a.b"], []))
