"""`python -m kinstream.catalog`: the one-off task that comes before services, and before their releases.

Makes the catalog's user, where it is told an administrator, and brings its tables to the newest version.
Exits 0 when that is done, 1 with a sentence where it cannot be. May be repeated.
"""

import asyncio
import logging
import sys

from pydantic import SecretStr

from kinstream.catalog.preparing import prepare
from kinstream.errors import PermanentError
from kinstream.settings import CoreSettings, OptionalText, read_settings
from kinstream.startup import wait_for
from kinstream.telemetry import configure_logging

log = logging.getLogger(__name__)


class MigrateSettings(CoreSettings):
    """Read from the environment with the prefix `KINSTREAM_`; frozen once read."""

    catalog_admin_user: OptionalText = None
    catalog_admin_password: SecretStr = SecretStr("")
    """Of the database's administrator, who makes the catalog's user. None: that user is there already."""


def main() -> None:
    """Prepare the catalog once."""
    settings = read_settings(MigrateSettings, "migrate", "catalog_url")
    configure_logging("migrate", settings.log_level)

    def step() -> None:
        prepare(
            settings.catalog_url.get_secret_value(),
            settings.catalog_admin_user,
            settings.catalog_admin_password.get_secret_value(),
        )

    advice = "see KINSTREAM_CATALOG_URL (secret catalog-url)"
    try:
        asyncio.run(wait_for({"Postgres": step}, settings.startup_wait_seconds, advice=advice))
    except PermanentError as error:
        sys.exit(f"migrate: {error}")
    log.info("the catalog is up to date")


if __name__ == "__main__":
    main()
