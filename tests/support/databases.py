"""Databases of Postgres for tests."""

import uuid

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from kinstream.catalog.database import create_engine


def empty_database(url: str) -> URL:
    """Another database on the same server, for the same user."""
    name = f"t_{uuid.uuid4().hex}"
    engine = create_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(url).set(database=name)
