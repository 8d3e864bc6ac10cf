"""A task asks ECS not to be scaled in."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from media_worker.protection import TaskProtection
from media_worker.settings import MediaWorkerSettings


class Agent(HTTPServer):
    """The agent that ECS gives a task, as far as protection goes."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.asked: list[tuple[str, dict[str, object]]] = []

    @property
    def url(self) -> str:
        """As ECS_AGENT_URI has it."""
        return f"http://127.0.0.1:{self.server_port}/api/task-1"


class _Handler(BaseHTTPRequestHandler):
    server: Agent

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(params=[200])
def agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    with Agent(request.param) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_protection_is_asked_for_in_whole_minutes(agent: Agent) -> None:
    TaskProtection(agent.url, 121).renew()
    wanted = {"ProtectionEnabled": True, "ExpiresInMinutes": 3}
    assert agent.asked == [("/api/task-1/task-protection/v1/state", wanted)]


@pytest.mark.parametrize("agent", [400], indirect=True)
def test_refused_protection_does_not_stop_the_work(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    TaskProtection(agent.url, 60).renew()
    assert [record.message for record in caplog.records] == ["task not protected"]


def test_absent_agent_does_not_stop_the_work(caplog: pytest.LogCaptureFixture) -> None:
    TaskProtection("http://127.0.0.1:1/api", 60).renew()
    assert [record.message for record in caplog.records] == ["task not protected"]


def test_outside_of_ecs_nobody_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    TaskProtection(None, 60).renew()
    assert not caplog.records


def test_agent_is_the_one_that_ecs_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECS_AGENT_URI", "http://169.254.170.2/api/x")
    assert MediaWorkerSettings().ecs_agent_uri == "http://169.254.170.2/api/x"
