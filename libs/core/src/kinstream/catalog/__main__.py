"""`python -m kinstream.catalog`: the one-off task that comes before services, and before their releases.

Makes the catalog's user, where it is told an administrator, and brings its tables to the newest version.
Exits 0 when that is done, 1 with a sentence where it cannot be. May be repeated.
"""

import logging
import sys
import time

from pydantic import Field, SecretStr
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from kinstream.catalog.preparing import prepare
from kinstream.errors import PermanentError
from kinstream.settings import CoreSettings, OptionalText, read_settings
from kinstream.telemetry import configure_logging

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0


class MigrateSettings(CoreSettings):
    """Read from the environment with the prefix `KINSTREAM_`; frozen once read."""

    catalog_admin_user: OptionalText = None
    catalog_admin_password: SecretStr = SecretStr("")
    """Of the database's administrator, who makes the catalog's user. None: that user is there already."""
    startup_wait_seconds: float = Field(60.0, gt=0)
    """How long to wait for a database that is still starting."""


def main() -> None:
    """Prepare the catalog once."""
    settings = read_settings(MigrateSettings, "migrate")
    configure_logging("migrate", settings.log_level)
    deadline = time.monotonic() + settings.startup_wait_seconds
    while True:
        try:
            prepare(
                settings.catalog_url.get_secret_value(),
                settings.catalog_admin_user,
                settings.catalog_admin_password.get_secret_value(),
            )
        except OperationalError as error:
            if time.monotonic() > deadline:
                _give_up(f"Postgres has not let us in for {settings.startup_wait_seconds:.0f} s", error)
            log.info("waiting for Postgres")
            time.sleep(_PAUSE_SECONDS)
        except SQLAlchemyError as error:
            _give_up("the catalog cannot be prepared", error)
        except PermanentError as error:
            sys.exit(f"migrate: {error}")
        else:
            log.info("the catalog is up to date")
            return


def _give_up(what: str, error: Exception) -> None:
    # Of SQLAlchemy's text the first line is the driver's; the others repeat the statement.
    reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    sys.exit(f"migrate: {what}: {reason}. See KINSTREAM_CATALOG_URL (secret catalog-url).")


if __name__ == "__main__":
    main()
