"""kinstream up"""

import json
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kinstream_devkit.embedded.stack import StackAddress

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@click.command(short_help="Run all of it in the foreground.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port of the API. [default: 8080, or a free one]"
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".kinstream"),
    show_default=True,
    help="Where everything is kept between starts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when ready, and nothing else.")
@click.option(
    "--restart-delay-seconds",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Pause before a process that ended is started again; it doubles while that keeps failing.",
)
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(["ingest-api", "session-worker", "media-worker", "recommender-trigger"]),
    help="Leave a service out, to run it yourself, say in a debugger. May be repeated.",
)
def up(
    port: int | None,
    data_dir: Path,
    as_json: bool,
    restart_delay_seconds: float,
    without: tuple[str, ...],
) -> None:
    """Run all of Kinstream in the foreground, without Docker and without AWS.

    Starts an AWS emulator, Redis and the four services, creates everything they need and an app "demo" with
    its keys, and keeps them running until Ctrl-C or SIGTERM. Whatever ends is started again. A later start
    finds its data again. The emulator saves queues and tables on a clean stop only: killed with -9, it loses
    what came in since it was started.

    Every KINSTREAM_ variable of the environment is handed to the services.

    \b
    Examples:
      kinstream up
      kinstream up --port 9000 --data-dir /tmp/try
      kinstream up --json > address.json
      kinstream up --without session-worker
      KINSTREAM_LEDGER_RETENTION_SECONDS=315360000 kinstream up     # count events of the last ten years
    """
    # Before anything that takes time: a signal must find a handler.
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        if stack:
            stack.request_stop()

    stack = None
    for number in _SIGNALS:
        signal.signal(number, handle)

    from kinstream_devkit.embedded.environment import SERVICES
    from kinstream_devkit.embedded.stack import Stack, StackOptions, StackStoppedError

    services = tuple(name for name in SERVICES if name not in without)
    stack = Stack(StackOptions(data_dir, port, restart_delay_seconds, services=services))
    try:
        if stop.is_set():
            return
        address = stack.start(_say)
        click.echo(_as_json(address) if as_json else _banner(address))
        stop.wait()
        _say("stopping; what it holds is being saved")
    except StackStoppedError:
        _say("stopped before it was ready")
    finally:
        stack.stop()


def _say(line: str) -> None:
    click.echo(line, err=True)


def _as_json(address: "StackAddress") -> str:
    return json.dumps({"url": address.url, "write_key": address.write_key, "secret_key": address.secret_key})


def _banner(address: "StackAddress") -> str:
    return f"""
Kinstream is ready.

  API           {address.url}   (its reference: {address.url}/docs)
  write key     {address.write_key}
  secret key    {address.secret_key}
  AWS emulator  {address.endpoint_url}
  data          {address.data_dir}   (logs in logs/)

Send an event, and ask for the sessions it makes:

  curl -u {address.write_key}: {address.url}/v1/events -H 'Content-Type: application/json' -d '{{
    "id": "first", "type": "content.viewed", "customer_id": "fam-1", "device_id": "ipad-1",
    "occurred_at": "'$(date -u +%Y-%m-%dT%H:%M:%SZ)'", "data": {{"content_id": "story-7"}}}}'

  curl -H 'Authorization: Bearer {address.secret_key}' {address.url}/v1/customers/fam-1/sessions

Ctrl-C stops it.
"""
