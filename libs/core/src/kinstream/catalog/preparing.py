"""Making a database ready for the catalog: its user, then its tables."""

import sqlalchemy as sa
from alembic.util.exc import CommandError
from psycopg import sql
from sqlalchemy.engine import URL, Engine, make_url

from kinstream.catalog.database import create_engine, migrate
from kinstream.errors import PermanentError

_DRIVERS = ("postgres", "postgresql", "postgresql+psycopg", "sqlite", "sqlite+pysqlite")
_URL = "KINSTREAM_CATALOG_URL (secret catalog-url)"
_NO_URL = f"{_URL} does not read postgresql://USER:PASSWORD@HOST:5432/kinstream"


def prepare(url: str, administrator: str | None = None, password: str | None = None) -> None:
    """Bring the tables behind `url` to the newest version.

    With an administrator's name and password, the user whom `url` names is made before; or, where there is
    one, given the password that `url` has now. May be repeated, and run by several at once.

    PermanentError, without the URL's text, where it is none; or where a newer release made the tables.
    """
    parsed = _parsed(url)
    if administrator and password:
        _make_user(parsed, administrator, password)
    try:
        migrate(url)
    except CommandError as error:
        raise PermanentError(
            f"the database is newer than this image ({error}); run the image of the newest release"
        ) from error


def _parsed(url: str) -> URL:
    # Errors of what parses and connects repeat what they take for port or host: parts of a password.
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        parsed = None
    if url.startswith("postgres") and url.count("@") > 1:
        raise PermanentError(f"{_URL} has more than one @: percent-encode the password, %40 for @")
    if parsed is None or parsed.drivername not in _DRIVERS:
        raise PermanentError(_NO_URL)
    return parsed


def _make_user(url: URL, administrator: str, password: str) -> None:
    if url.get_backend_name() != "postgresql" or not url.username or not url.password:
        raise PermanentError(_NO_URL)
    if url.username == administrator:
        return
    engine = create_engine(url.set(username=administrator, password=password))
    try:
        _grant(engine, url.username, url.password)
    finally:
        engine.dispose()


def _grant(engine: Engine, user: str, password: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": _USER_LOCK})
        known = connection.scalar(sa.text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": user})
        raw = connection.connection.dbapi_connection
        # As a hash: statements end up in the server's log.
        hashed = raw.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")  # type: ignore[union-attr]
        verb = "ALTER" if known else "CREATE"
        statement = sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}")
        raw.execute(statement.format(sql.Identifier(user), sql.Literal(hashed.decode())))  # type: ignore[union-attr]
        raw.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(sql.Identifier(user)))  # type: ignore[union-attr]


_USER_LOCK = 4_907_222
"""Number of the Postgres advisory lock under which the user changes."""
