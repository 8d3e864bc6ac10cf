"""What must be there before services start: resources of an emulator, tables of the catalog, the first app.

All of it may be repeated, by several at once, and after a death at any point.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy.exc import OperationalError

from kinstream.aws import blocking_client
from kinstream.catalog import migrate
from kinstream.errors import RetryableError
from kinstream.resources import ProcessorQueue
from kinstream.settings import CoreSettings
from kinstream_devkit.apps import Apps, ensure_first_app
from kinstream_devkit.embedded.datadir import DataDir
from kinstream_devkit.provision import provision

_PAUSE_SECONDS = 0.5

Say = Callable[[str], None]
Result = TypeVar("Result")


def set_up_emulator(
    settings: CoreSettings, processors: Sequence[ProcessorQueue], data: DataDir
) -> dict[str, str]:
    """Create what is missing; `app`, `write_key` and `secret_key` of the first app, kept in `data`."""
    provision(settings, processors)
    with closing(blocking_client("dynamodb", settings)) as dynamodb:
        return ensure_first_app(Apps(dynamodb, settings.names), data)


def set_up_catalog(settings: CoreSettings) -> None:
    """Bring the catalog's tables to the newest version."""
    migrate(settings.catalog_url.get_secret_value())


def wait_for(what: str, step: Callable[[], Result], seconds: float, say: Say) -> Result:
    """The result of `step`, tried again for so long while what it needs is still starting.

    RetryableError that names what did not answer.
    """
    deadline = time.monotonic() + seconds
    told = False
    while True:
        try:
            return step()
        except (BotoCoreError, ClientError, OperationalError, OSError, RetryableError) as error:
            if time.monotonic() > deadline:
                raise RetryableError(
                    f"{what} has not answered for {seconds:.0f} s: {_first(error)}"
                ) from error
            if not told:
                say(f"waiting for {what}")
                told = True
        time.sleep(_PAUSE_SECONDS)


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0]
