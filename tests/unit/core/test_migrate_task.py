"""The one-off task that migrates says in words what is wrong, and nothing of the URL's text."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from kinstream.catalog.__main__ import main
from kinstream.catalog.database import migrate
from kinstream.catalog.preparing import prepare
from kinstream.errors import PermanentError


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://kinstream:secret@host:abc/kinstream",
        "postgresql://kinstream:secret",
        "mysql://kinstream:secret@host/kinstream",
        '{"password": "secret"}',
        "secret",
    ],
)
def test_url_that_is_none_is_refused_without_its_text(url: str):
    with pytest.raises(PermanentError, match="does not read postgresql://") as told:
        prepare(url)
    assert "secret" not in str(told.value).replace("secret catalog-url", "")
    assert "abc" not in str(told.value)


@pytest.mark.parametrize("password", ["se@cret", "se@cr:et", "se@cr/et"])
def test_password_with_an_at_sign_that_is_not_encoded_is_refused(password: str):
    with pytest.raises(PermanentError, match="percent-encode the password") as told:
        prepare(f"postgresql://kinstream:{password}@127.0.0.1:5432/kinstream")
    assert "cr" not in str(told.value).replace("secret catalog-url", "")


def test_database_of_a_newer_release_is_left_alone_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    url = f"sqlite:///{tmp_path}/catalog.sqlite3"
    migrate(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    monkeypatch.setenv("KINSTREAM_CATALOG_URL", url)
    with pytest.raises(SystemExit, match="newer than this image"):
        main()


def test_url_that_is_none_ends_the_task_with_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KINSTREAM_CATALOG_URL", "postgresql://kinstream:secret@host:abc/kinstream")
    with pytest.raises(SystemExit, match=r"secret catalog-url. does not read postgresql://"):
        main()
