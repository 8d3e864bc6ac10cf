"""The one-off task that makes the catalog ready: its user, then its tables."""

import os
import subprocess
import sys
import uuid

import pytest
from sqlalchemy.engine import URL

from kinstream.catalog import open_catalog
from kinstream.catalog.preparing import prepare
from kinstream.errors import PermanentError, RetryableError
from tests.support.databases import empty_database

ADMINISTRATOR = ("kinstream_admin", "a password")


@pytest.fixture
def database(postgres_url: str) -> URL:
    """An empty database, as its administrator reaches it."""
    return empty_database(postgres_url)


def as_user(database: URL, name: str, password: str) -> str:
    return database.set(username=name, password=password).render_as_string(hide_password=False)


def run(url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The task, as its container runs it."""
    told = {"KINSTREAM_CATALOG_URL": url, "KINSTREAM_STARTUP_WAIT_SECONDS": "0.1"}
    return subprocess.run(
        [sys.executable, "-m", "kinstream.catalog"],
        env=os.environ | told | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_task_makes_the_user_and_the_tables_and_takes_a_new_password(database: URL):
    name = f"kin_{uuid.uuid4().hex[:8]}"
    administrator = {
        "KINSTREAM_CATALOG_ADMIN_USER": str(database.username),
        "KINSTREAM_CATALOG_ADMIN_PASSWORD": str(database.password),
    }
    first, second = (as_user(database, name, password) for password in ("fir'st", "sec%ond"))
    for url in (first, first, second):
        done = run(url, **administrator)
        assert done.returncode == 0, done.stderr
    catalog = open_catalog(second)
    catalog.check()
    catalog.close()
    with pytest.raises(RetryableError, match="password authentication failed"):
        prepare(first)


def test_task_that_is_not_let_in_says_so_without_the_password(database: URL):
    done = run(as_user(database, "nobody_known", "hush"))
    assert done.returncode == 1
    assert "Postgres has not answered for 0.1 s" in done.stderr
    assert "secret catalog-url" in done.stderr
    assert "hush" not in done.stderr + done.stdout


@pytest.mark.parametrize("url", ["sqlite:///catalog.sqlite3", "postgresql://kinstream@host/kinstream"])
def test_url_that_names_no_user_with_a_password_is_refused(url: str):
    with pytest.raises(PermanentError, match="postgresql://USER:PASSWORD@HOST"):
        prepare(url, *ADMINISTRATOR)
