"""The examples of docs/clients.md, copied and run as a reader would."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kinstream.events import format_time_ms
from tests.support.ingest import App, Service, now_ms, published
from tests.support.node_clients import installed_clients

PAGE = Path(__file__).parents[3] / "docs" / "clients.md"
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
HOST = "https://events.example.com"
BROWSER = "@segment/analytics-next"
RUN_SECONDS = 120
COMMANDS = {"python": [sys.executable], "sh": ["sh"], "js": ["node"]}


def examples(*languages: str) -> list[tuple[str, str]]:
    """(language, text) of each block in one of these languages."""
    found = [(block["language"], block["text"]) for block in BLOCK.finditer(PAGE.read_text())]
    # What runs in a browser is run in one by test_segment_clients.py.
    return [(language, text) for language, text in found if language in languages and BROWSER not in text]


def short(part: str) -> str:
    """A name for a test: the language, and of a text how long it is."""
    return part if part in COMMANDS else str(len(part))


def run(language: str, text: str, folder: Path, service: Service, app: App) -> None:
    """Run an example with the host, the key and the time of now in the place of the page's own."""
    text = text.replace(HOST, service.url).replace("kw_demo_...", app.write_key)
    text = text.replace("2026-11-20T18:04:05.123Z", format_time_ms(now_ms()))
    file = folder / {"python": "example.py", "sh": "example.sh", "js": "example.mjs"}[language]
    if language == "js" and "require(" in text:
        file = file.with_suffix(".cjs")
    file.write_text(text)
    done = subprocess.run(
        [*COMMANDS[language], file],
        cwd=folder,
        env=os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def check_sent(service: Service, app: App) -> None:
    (event,) = published(service, app, "activity", 1, and_no_more=True)
    content_id = json.loads(bytes(event.data)).get("content_id")
    assert event.customer_id == "fam-42"
    assert (event.type, content_id) in {("content.viewed", "story-7"), ("cart.add", None)}


@pytest.mark.parametrize(("language", "text"), examples("python", "sh"), ids=short)
def test_an_example_sends_the_one_event_that_it_shows(service, app, tmp_path, language, text):
    run(language, text, tmp_path, service, app)
    check_sent(service, app)


@pytest.mark.parametrize(("language", "text"), examples("js"), ids=short)
def test_an_example_for_node_sends_the_one_event_that_it_shows(service, app, tmp_path, language, text):
    (tmp_path / "node_modules").symlink_to(installed_clients() / "node_modules")
    run(language, text, tmp_path, service, app)
    check_sent(service, app)


def test_the_page_has_an_example_of_every_kind_for_a_host_to_fill_in():
    shown = examples("python", "sh", "js", "swift", "kotlin")
    assert {language for language, _ in shown} == {"python", "sh", "js", "swift", "kotlin"}
    assert all(HOST in text for language, text in shown if language in COMMANDS)
