"""The small parts of the embedded stack: its folder, its environment, its first app, its command."""

import subprocess
import sys
from pathlib import Path

import pytest

from kinstream.aws import blocking_client
from kinstream.errors import PermanentError
from kinstream.registry import parse_key
from kinstream.settings import CoreSettings
from kinstream_devkit.apps import Apps, ensure_first_app
from kinstream_devkit.embedded.datadir import DataDir
from kinstream_devkit.embedded.environment import Ports, core_settings, service_environment
from kinstream_devkit.embedded.logs import MAX_LOG_BYTES, bound_log, last_lines
from kinstream_devkit.processors import as_json, check_file, processor_queues, write_file
from kinstream_devkit.provision import provision

PORTS = Ports(http=1, emulator=2, redis=3)


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    folder = DataDir(tmp_path / "data")
    folder.create()
    return folder


def test_folder_belongs_to_one_stack_at_a_time(data: DataDir) -> None:
    other = DataDir(data.root)
    data.lock()
    with pytest.raises(PermanentError, match="already runs"):
        other.lock()
    data.unlock()
    other.lock()
    other.unlock()


def test_folder_that_cannot_be_made_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PermanentError, match="--data-dir"):
        DataDir(tmp_path / "file" / "data").create()


def test_hash_key_is_made_once(data: DataDir) -> None:
    assert data.ledger_hash_key() == DataDir(data.root).ledger_hash_key()
    assert data.media_url_key() == DataDir(data.root).media_url_key() != data.ledger_hash_key()


def test_the_users_settings_reach_the_services_but_real_credentials_do_not(data: DataDir) -> None:
    user = {
        "KINSTREAM_LEDGER_RETENTION_SECONDS": "7200",
        "KINSTREAM_LAUNCHER": "emr",
        "KINSTREAM_AWS_ENDPOINT_URL": "https://elsewhere.example",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_PROFILE": "production",
    }

    environment = service_environment(data, PORTS, user)

    assert environment["KINSTREAM_LAUNCHER"] == "emr"
    assert environment["KINSTREAM_AWS_ENDPOINT_URL"] == "http://127.0.0.1:2"
    assert environment["AWS_ACCESS_KEY_ID"] == "local"
    assert "AWS_PROFILE" not in environment
    assert core_settings(environment).ledger_retention_seconds == 7_200


def test_wrong_setting_is_named_without_its_value(data: DataDir) -> None:
    environment = service_environment(data, PORTS, {"KINSTREAM_LEDGER_RETENTION_SECONDS": "s3cret"})
    with pytest.raises(PermanentError, match=r"^KINSTREAM_LEDGER_RETENTION_SECONDS: ") as refused:
        core_settings(environment)
    assert "s3cret" not in str(refused.value)


def test_first_app_keeps_its_keys_and_a_revoked_one_is_replaced(
    settings: CoreSettings, data: DataDir
) -> None:
    provision(settings, [])
    apps = Apps(blocking_client("dynamodb", settings), settings.names)
    first = ensure_first_app(apps, data)
    assert ensure_first_app(apps, data) == first
    assert apps.app_names() == ["demo"]

    apps.revoke("demo", parse_key(first["write_key"]).hash[:8])
    second = ensure_first_app(apps, data)

    assert second["write_key"] != first["write_key"]
    assert second["secret_key"] == first["secret_key"]
    assert apps.status(parse_key(first["write_key"])) == "revoked"


def test_lost_registry_is_told_the_same_keys_again(settings: CoreSettings, data: DataDir) -> None:
    kept = {"app": "demo", "write_key": f"kw_demo_{'a' * 32}", "secret_key": f"ks_demo_{'b' * 32}"}
    data.write_credentials(kept)
    provision(settings, [])
    apps = Apps(blocking_client("dynamodb", settings), settings.names)

    assert ensure_first_app(apps, data) == kept
    assert {apps.status(parse_key(kept[name])) for name in ("write_key", "secret_key")} == {"live"}


def test_revoking_asks_for_one_key(settings: CoreSettings) -> None:
    provision(settings, [])
    apps = Apps(blocking_client("dynamodb", settings), settings.names)
    apps.create("photos", "write")
    apps.create("photos", "write")
    with pytest.raises(PermanentError, match="2 live keys"):
        apps.revoke("photos", "")


def test_log_is_bounded_and_its_end_readable(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    bound_log(log)
    assert log.stat().st_size == 0
    assert (tmp_path / "worker.log.1").stat().st_size == MAX_LOG_BYTES + 1
    log.write_text('{"level": "ERROR", "message": "no queue", "exception": "Traceback\\nOops"}\nplain\n')
    assert last_lines(log).split() == ["ERROR", "no", "queue", "Traceback", "Oops", "plain"]


def test_generated_list_of_processors_is_in_step_with_the_code() -> None:
    check_file(Path(__file__).parents[3] / "infra/terraform/processors.json", processor_queues())


def test_list_of_processors_out_of_step_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "processors.json"
    with pytest.raises(PermanentError, match="kinstream processors --write"):
        check_file(file, processor_queues())
    assert write_file(file, processor_queues())
    assert not write_file(file, processor_queues())
    assert file.read_text() == as_json(processor_queues())


def test_listing_the_commands_imports_nothing_slow() -> None:
    code = (
        "import sys; from kinstream_devkit.cli import main; main(['--help'], standalone_mode=False);"
        "slow = {'boto3', 'botocore', 'rich', 'pydantic', 'av', 'httpx'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"up", "keys", "processors"} <= set(done.stdout.split())
