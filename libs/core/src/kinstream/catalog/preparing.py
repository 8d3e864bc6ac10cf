"""Making a database ready for the catalog: its user, then its tables."""

import sqlalchemy as sa
from alembic.util.exc import CommandError
from psycopg import sql
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from kinstream.catalog.database import create_engine, migrate
from kinstream.errors import PermanentError, RetryableError

_DRIVERS = ("postgres", "postgresql", "postgresql+psycopg", "sqlite", "sqlite+pysqlite")
_URL = "KINSTREAM_CATALOG_URL (secret catalog-url)"
_NO_URL = f"{_URL} does not read postgresql://USER:PASSWORD@HOST:5432/kinstream"


def prepare(url: str, administrator: str | None = None, password: str | None = None) -> None:
    """Bring the tables behind `url` to the newest version.

    With an administrator's name and password, the user whom `url` names is made before; or, where there is
    one, given the password that `url` has now. May be repeated, and run by several at once.

    RetryableError where the database does not let us in. PermanentError, without the URL's text, where it is
    none; where a newer release made the tables; or where the database refuses.
    """
    place = parsed(url)
    try:
        if administrator and password:
            _make_user(place, administrator, password)
        migrate(url)
    except CommandError as error:
        raise PermanentError(
            f"the database is newer than this image ({error}); run the image of the newest release"
        ) from error
    except OperationalError as error:
        raise RetryableError(_cause(error)) from error
    except SQLAlchemyError as error:
        raise PermanentError(f"the catalog cannot be prepared: {_cause(error)}. See {_URL}.") from error


def parsed(url: str) -> URL:
    """The catalog's URL; PermanentError, without its text, where it is none."""
    # Errors of what parses and connects repeat what they take for port or host: parts of a password.
    try:
        place = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        place = None
    if url.startswith("postgres") and url.count("@") > 1:
        raise PermanentError(f"{_URL} has more than one @: percent-encode the password, %40 for @")
    if place is None or place.drivername not in _DRIVERS:
        raise PermanentError(_NO_URL)
    return place


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


def _cause(error: SQLAlchemyError) -> str:
    # Of SQLAlchemy's text the first line is the driver's; the others repeat the statement.
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


_USER_LOCK = 4_907_222
"""Number of the Postgres advisory lock under which the user changes."""
