"""docs/adding-a-processor.md, done as it is written, in a copy of the repository."""

import io
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pyarrow.parquet as pq
import pytest

from kinstream.aws import blocking_client
from kinstream.resources import BUCKET_ARCHIVE
from kinstream.settings import CoreSettings
from tests.support.repository import ROOT, environment_in, repository_copy, run_in
from tests.support.stack import RunningStack, running_stack

PAGE = ROOT / "docs/adding-a-processor.md"
_FENCE = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"# (?P<path>\S+\.py)\n")
_PATIENCE_SECONDS = 300


class Block(NamedTuple):
    """A fenced block of the page."""

    kind: str
    text: str


def blocks() -> list[Block]:
    return [Block(match["kind"], match["text"]) for match in _FENCE.finditer(PAGE.read_text())]


class Shell:
    """Runs the page's commands one block after the other; what a block exports, the next ones know."""

    def __init__(self, copy: Path, folder: Path) -> None:
        self._copy = copy
        self._exported = folder / "exported"
        self._exported.write_text("")

    def export(self, **values: str) -> None:
        with self._exported.open("a") as file:
            file.writelines(f"export {name}='{value}'\n" for name, value in values.items())

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        script = f"set -euo pipefail\n. {self._exported}\n{text}\nexport -p >{self._exported}"
        return run_in(self._copy, "bash", "-c", script)

    def must_run(self, text: str) -> str:
        done = self.run(text)
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def run_until(self, text: str, expected: str) -> None:
        """Counting takes a moment: ask again until the answer is the page's."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (found := self.must_run(text).strip()) != expected.strip():
            assert time.monotonic() < deadline, f"{text}\nsays {found}, the page {expected}"
            time.sleep(0.5)


def send_before_there_is_a_processor(stack: RunningStack, day: str) -> None:
    event = {"id": "old-1", "type": "screen.used", "customer_id": "fam-0", "person_id": "ann"}
    event |= {"occurred_at": f"{day}T10:00:00Z", "data": {"seconds": 42}}
    answer = httpx.post(
        f"{stack.url}/v1/events", json=event, auth=(stack.write_key, ""), timeout=60, trust_env=False
    )
    assert answer.status_code == 202, answer.text


def archived(stack: RunningStack, events: int) -> bool:
    """Whether the archive holds so many rows."""
    state = stack.state()
    settings = CoreSettings(name_prefix=state["name_prefix"], aws_endpoint_url=state["endpoint_url"])
    bucket = settings.names.of(BUCKET_ARCHIVE)
    s3 = blocking_client("s3", settings)
    found = s3.list_objects_v2(Bucket=bucket, Prefix="events/").get("Contents", [])
    bodies = [s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in found]
    s3.close()
    return sum(pq.read_metadata(io.BytesIO(body)).num_rows for body in bodies) >= events


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return repository_copy(tmp_path / "repository")


def test_page_works_as_it_is_written(copy: Path, tmp_path: Path):
    shell = Shell(copy, tmp_path)
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    with running_stack(copy / ".kinstream", environment_in(copy)) as stack:
        send_before_there_is_a_processor(stack, yesterday)
        wait_until_archived(stack, 1)
        assert stack.stop() == 0

    page = iter(blocks())
    before_it_runs(page, shell, copy)
    with running_stack(copy / ".kinstream", environment_in(copy)) as stack:
        shell.export(URL=stack.url, WRITE_KEY=stack.write_key)
        while_it_runs(page, shell, stack)
        # The page says that a replay counts the past: this event came before there was a processor.
        past = shell.must_run(f"kinstream counter screen-time fam-0 ann {yesterday}")
    assert past.strip() == '{"events":1,"seconds":42}'


def before_it_runs(page: Iterator[Block], shell: Shell, copy: Path) -> None:
    """Up to the block that starts the stack."""
    for block in page:
        match block.kind:
            case "sh":
                shell.must_run(block.text)
            case "python":
                path = _PATH.match(block.text)
                assert path, f"a file without its path:\n{block.text}"
                assert (copy / path["path"]).exists(), "the page changes what new-processor wrote"
                (copy / path["path"]).write_text(block.text.removeprefix(path[0]))
            case "console":
                break
    written = ["services/session-worker/src/session_worker/processors", "tests/integration/processors"]
    for check in (["ruff", "format", "--check"], ["ruff", "check"]):
        done = run_in(copy, *check, *written)
        assert done.returncode == 0, done.stdout
    typed = run_in(copy, "mypy", f"{written[0]}/screen_time.py")
    assert typed.returncode == 0, typed.stdout


def while_it_runs(page: Iterator[Block], shell: Shell, stack: RunningStack) -> None:
    """What the page sends, asks and replays. The answer to a command is the block after it."""
    rest = [*page]
    for block, after in zip(rest, [*rest[1:], Block("end", "")], strict=True):
        if block.kind != "sh":
            continue
        if after.kind == "json":
            shell.run_until(block.text, after.text)
            continue
        if "kinstream replay" in block.text:
            wait_until_archived(stack, 1 + 3)
        told = shell.must_run(block.text)
        if "kinstream replay" in block.text:
            assert "all of them are counted" in told


def wait_until_archived(stack: RunningStack, events: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not archived(stack, events):
        assert time.monotonic() < deadline, "not archived"
        time.sleep(0.5)
