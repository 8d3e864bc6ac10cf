"""What must be there before services start: resources of an emulator, tables of the catalog, the first app.

All of it may be repeated, by several at once, and after a death at any point.
"""

from collections.abc import Sequence
from contextlib import closing

from kinstream.aws import blocking_client
from kinstream.catalog.preparing import prepare
from kinstream.resources import ProcessorQueue
from kinstream.settings import CoreSettings
from kinstream_devkit.apps import Apps, ensure_first_app
from kinstream_devkit.embedded.datadir import DataDir
from kinstream_devkit.provision import provision


def set_up_emulator(
    settings: CoreSettings, processors: Sequence[ProcessorQueue], data: DataDir
) -> dict[str, str]:
    """Create what is missing; `app`, `write_key` and `secret_key` of the first app, kept in `data`."""
    provision(settings, processors)
    with closing(blocking_client("dynamodb", settings)) as dynamodb:
        return ensure_first_app(Apps(dynamodb, settings.names), data)


def set_up_catalog(settings: CoreSettings) -> None:
    """Bring the catalog's tables to the newest version; errors as `prepare` has them."""
    prepare(settings.catalog_url.get_secret_value())
