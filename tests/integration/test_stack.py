"""`kinstream up` as a user meets it: start, kill, stop, start again."""

import json
import signal
import socket
import time
import uuid
from pathlib import Path

import httpx
import psutil
import pytest

from kinstream_devkit.embedded.emulator import HOST
from kinstream_devkit.embedded.environment import EMULATOR, REDIS, SERVICES
from tests.support.stack import RunningStack, eventually, kinstream, running_stack

pytestmark = pytest.mark.xdist_group("stack")


def _send(stack: RunningStack, customer: str, key: str | None = None) -> httpx.Response:
    event = {
        "id": uuid.uuid4().hex,
        "type": "screen.viewed",
        "customer_id": customer,
        "device_id": "ipad-1",
        "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return httpx.post(f"{stack.url}/v1/events", json=event, auth=(key or stack.write_key, ""), timeout=60)


def _counted(stack: RunningStack, customer: str) -> int:
    response = httpx.get(
        f"{stack.url}/v1/customers/{customer}/counters",
        headers={"Authorization": f"Bearer {stack.secret_key}"},
        timeout=60,
    )
    return int(response.json()["events"]) if response.status_code == 200 else -1


def _send_counted(stack: RunningStack) -> str:
    """A customer with one event that came through the whole of it."""
    customer = f"fam-{uuid.uuid4().hex}"
    eventually(lambda: _accepted(stack, customer), "an event is accepted")
    eventually(lambda: _counted(stack, customer) == 1, "the event is counted")
    return customer


def _accepted(stack: RunningStack, customer: str) -> bool:
    try:
        return _send(stack, customer).status_code == 202
    except httpx.TransportError:
        return False


def test_second_start_finds_its_data_and_its_keys_again(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data") as first:
        customer = _send_counted(first)
        assert first.stop() == 0
        assert not (first.data_dir / "state.json").exists()
    with running_stack(tmp_path / "data") as second:
        assert (second.write_key, second.secret_key) == (first.write_key, first.secret_key)
        assert second.url == first.url
        eventually(lambda: _counted(second, customer) == 1, "its data is there")
        # Ctrl-C is as good as SIGTERM.
        assert second.stop(signal.SIGINT) == 0


def test_nothing_outlives_a_killed_supervisor_and_the_next_start_finds_its_data(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data") as first:
        customer = _send_counted(first)
        children = [child["pid"] for child in first.state()["children"].values()]
        first.process.kill()
        first.process.wait()
        eventually(lambda: not any(map(psutil.pid_exists, children)), "all children have ended")
    with running_stack(tmp_path / "data") as second:
        eventually(lambda: _counted(second, customer) == 1, "its data is there")


@pytest.mark.parametrize("child", [*SERVICES, REDIS])
def test_killed_process_is_started_again_and_said_so(stack: RunningStack, child: str) -> None:
    before = stack.kill(child)

    assert f"{child} ended (killed by SIGKILL)" in stack.notices
    assert stack.pid(child) != before
    _send_counted(stack)


def test_killed_emulator_is_set_up_again(stack: RunningStack) -> None:
    stack.kill(EMULATOR)

    _send_counted(stack)


def test_emulator_that_stops_cleanly_comes_back_with_all_it_held(stack: RunningStack) -> None:
    customer = _send_counted(stack)

    stack.kill(EMULATOR, signal.SIGTERM)

    eventually(lambda: _counted(stack, customer) == 1, "its data is there")
    _send_counted(stack)


def test_second_stack_on_the_same_folder_is_refused(stack: RunningStack) -> None:
    refused = kinstream("up", "--port", "0", "--data-dir", str(stack.data_dir))

    assert refused.returncode == 2
    assert f"a stack already runs on {stack.data_dir} (process {stack.process.pid})" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert stack.process.poll() is None


def test_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        refused = kinstream("up", "--port", str(port), "--data-dir", str(tmp_path / "data"))

    assert refused.returncode == 2
    assert f"port {port} on {HOST} is taken" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_wrong_setting_is_named(tmp_path: Path) -> None:
    refused = kinstream(
        "up", "--data-dir", str(tmp_path), variables={"KINSTREAM_LEDGER_RETENTION_SECONDS": "soon"}
    )

    assert refused.returncode == 2
    assert "KINSTREAM_LEDGER_RETENTION_SECONDS" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_service_that_cannot_start_is_shown_with_its_log(tmp_path: Path) -> None:
    refused = kinstream(
        *("up", "--port", "0", "--data-dir", str(tmp_path), "--restart-delay-seconds", "0"),
        variables={"KINSTREAM_TRAINING_TICK_SECONDS": "never"},
    )

    assert refused.returncode == 2
    assert "recommender-trigger does not start" in refused.stderr
    assert "KINSTREAM_TRAINING_TICK_SECONDS" in refused.stderr


def test_rotated_key_works_and_the_old_one_until_it_is_revoked(stack: RunningStack) -> None:
    place = ("--data-dir", str(stack.data_dir))
    customer = f"fam-{uuid.uuid4().hex}"
    old = kinstream("keys", "create", *place, "--app", "photos", "--kind", "write").stdout.strip()
    new = kinstream("keys", "rotate", *place, "--app", "photos", "--kind", "write").stdout.strip()
    assert old != new
    assert [_send(stack, customer, key).status_code for key in (old, new)] == [202, 202]

    listed = kinstream("keys", "list", *place, "--app", "photos").stdout
    oldest = listed.splitlines()[1].split()[2]
    assert kinstream("keys", "revoke", *place, "--app", "photos", oldest).returncode == 0

    eventually(lambda: _send(stack, customer, old).status_code == 401, "the old key is refused")
    assert _send(stack, customer, new).status_code == 202


def test_keys_and_state_are_the_owners_alone(stack: RunningStack) -> None:
    credentials = stack.data_dir / "credentials.json"
    assert json.loads(credentials.read_text())["write_key"] == stack.write_key
    secrets = [stack.data_dir / name for name in ("ledger_hash_key", "media_url_key", "state.json")]
    private = [credentials, *secrets]
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_keys_without_a_running_stack_say_what_to_do(tmp_path: Path) -> None:
    refused = kinstream("keys", "list", "--data-dir", str(tmp_path))

    assert refused.returncode == 2
    assert "start it with `kinstream up`" in refused.stderr
