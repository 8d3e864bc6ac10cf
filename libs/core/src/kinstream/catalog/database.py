"""Opening the catalog and bringing its tables up to date: SQLite or Postgres, by the URL."""

from importlib.resources import files
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, make_url

from kinstream.catalog.repositories import MediaRepository
from kinstream.catalog.work import WorkRepository

_BUSY_TIMEOUT_SECONDS = 30
_POOL_TIMEOUT_SECONDS = 10
_VANISHED = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""As libpq calls them, in seconds, the last in milliseconds. A server that is gone without a word is an error
in less than half a minute, in mid-query too; one whose kernel still answers for it is waited for."""
_MIGRATION_LOCK = 4_907_221
"""Number of the Postgres advisory lock under which tables change."""


def open_catalog(url: str) -> MediaRepository:
    """The catalog behind `sqlite:///FILE` or `postgresql://...`. Connects on first use, not now.

    What the URL says of timeouts (`?connect_timeout=2`) goes before what is set here.
    Not to be shared with a forked child: each process opens its own.
    """
    return MediaRepository(create_engine(url))


def open_work(url: str) -> WorkRepository:
    """The worker's side of the same catalog; as `open_catalog`."""
    return WorkRepository(create_engine(url))


def migrate(url: str, version: str = "head") -> None:
    """Bring the tables to the newest version, or to the one named.

    Run again, or by several at once, it changes nothing more.
    """
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "begin", _begin_exclusively)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": _MIGRATION_LOCK})
            config = Config()
            config.set_main_option("script_location", str(files("kinstream.catalog") / "migrations"))
            config.attributes["connection"] = connection
            command.upgrade(config, version)
    finally:
        engine.dispose()


def create_engine(where: str | URL) -> Engine:
    """SQLAlchemy's engine for the catalog behind a URL. Connects on first use."""
    url = _with_driver(make_url(where))
    if url.get_backend_name() != "sqlite":
        # Encoding said, because a database that was made without a locale would answer in bytes.
        wanted = {"client_encoding": "utf8", **_VANISHED}
        return sa.create_engine(
            url,
            pool_pre_ping=True,
            pool_timeout=_POOL_TIMEOUT_SECONDS,
            connect_args={name: value for name, value in wanted.items() if name not in url.query},
        )
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _with_driver(url: URL) -> URL:
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    return url


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL: readers and the one writer do not wait for one another.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_exclusively(connection: sa.Connection) -> None:
    # The driver begins no transaction before DDL by itself; two migrations at once would collide.
    raw: Any = connection.connection.dbapi_connection
    raw.isolation_level = None
    connection.exec_driver_sql("BEGIN IMMEDIATE")
