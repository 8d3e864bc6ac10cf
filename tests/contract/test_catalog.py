"""What the catalog promises, on SQLite and on Postgres."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from kinstream.catalog import MediaRepository, NewItem, Rendition, State, migrate, open_catalog
from kinstream.catalog.database import _engine
from kinstream.catalog.models import Base
from kinstream.errors import RetryableError

MP4 = Rendition("video", "video", "demo/m/video.mp4", "video/mp4", 1000, 352, 288, 6.0)
POSTER = Rendition("poster", "image", "demo/m/poster.jpg", "image/jpeg", 100, 384, 288)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/catalog.sqlite3"


@pytest.fixture
def catalog(url: str) -> Iterator[MediaRepository]:
    migrate(url)
    opened = open_catalog(url)
    yield opened
    opened.close()


@pytest.fixture
def app() -> str:
    return f"app-{uuid.uuid4().hex}"


def declared(catalog: MediaRepository, app: str, customer_id: str = "fam") -> str:
    media_id = uuid.uuid4().hex
    catalog.declare(NewItem(app, media_id, customer_id, "video", "video/3gpp", 1000))
    return media_id


def uploaded(catalog: MediaRepository, app: str) -> str:
    media_id = declared(catalog, app)
    assert catalog.mark_uploaded(app, media_id, 900)
    return media_id


def test_item_goes_from_declared_to_ready_with_its_renditions(catalog: MediaRepository, app: str) -> None:
    media_id = declared(catalog, app)
    assert catalog.get(app, media_id).state == State.DECLARED
    catalog.mark_uploaded(app, media_id, 900)
    claim = catalog.claim(app, media_id, "m1", 60)
    assert catalog.report_progress(claim, 40)
    assert (catalog.get(app, media_id).state, catalog.get(app, media_id).progress) == (State.PROCESSING, 40)
    assert catalog.finish(claim, [MP4, POSTER])

    item = catalog.get(app, media_id)
    assert (item.state, item.progress, item.renditions) == (State.READY, 100, (MP4, POSTER))


def test_item_that_is_not_uploaded_cannot_be_claimed(catalog: MediaRepository, app: str) -> None:
    assert catalog.claim(app, declared(catalog, app), "m1", 60) is None


def test_ready_item_is_left_alone_by_duplicates(catalog: MediaRepository, app: str) -> None:
    media_id = uploaded(catalog, app)
    catalog.finish(catalog.claim(app, media_id, "m1", 60), [MP4])

    assert not catalog.mark_uploaded(app, media_id, 5)
    assert catalog.claim(app, media_id, "m1", 60) is None
    assert catalog.claim(app, media_id, "m2", 60) is None
    assert catalog.get(app, media_id).renditions == (MP4,)


def test_redelivered_message_takes_over_and_the_old_holder_can_write_no_more(
    catalog: MediaRepository, app: str
) -> None:
    media_id = uploaded(catalog, app)
    old = catalog.claim(app, media_id, "m1", 60)
    assert catalog.claim(app, media_id, "another message", 60) is None
    new = catalog.claim(app, media_id, "m1", 60)

    assert new.attempt == old.attempt + 1
    for lost in (
        catalog.extend(old, 60),
        catalog.report_progress(old, 50),
        catalog.release(old),
        catalog.fail(old, "no"),
        catalog.finish(old, [MP4]),
    ):
        assert not lost
    assert catalog.finish(new, [POSTER])
    assert catalog.get(app, media_id).renditions == (POSTER,)


def test_another_message_takes_over_when_the_lease_has_ended(catalog: MediaRepository, app: str) -> None:
    media_id = uploaded(catalog, app)
    catalog.claim(app, media_id, "m1", -1)
    assert catalog.claim(app, media_id, "m2", 60).attempt == 2


def test_released_item_is_claimed_again(catalog: MediaRepository, app: str) -> None:
    media_id = uploaded(catalog, app)
    assert catalog.release(catalog.claim(app, media_id, "m1", 60))
    assert catalog.claim(app, media_id, "m2", 60)


def test_failure_is_final_unless_it_came_from_trying_too_often(catalog: MediaRepository, app: str) -> None:
    hopeless, unlucky = uploaded(catalog, app), uploaded(catalog, app)
    catalog.fail(catalog.claim(app, hopeless, "m1", 60), "no media")
    catalog.fail(catalog.claim(app, unlucky, "m1", 60), "tried 5 times", exhausted=True)

    assert catalog.claim(app, hopeless, "m2", 60) is None
    assert catalog.claim(app, unlucky, "m1", 60) is None
    assert catalog.claim(app, unlucky, "m2", 60)
    assert catalog.get(app, hopeless).reason == "no media"


def test_of_many_that_claim_at_once_one_succeeds(url: str, catalog: MediaRepository, app: str) -> None:
    media_id = uploaded(catalog, app)
    others = [open_catalog(url) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda n: others[n].claim(app, media_id, f"m{n}", 60), range(len(others))))
    for other in others:
        other.close()
    assert len([claim for claim in claims if claim]) == 1


def test_abandoned_items_are_told_to_one_caller(catalog: MediaRepository, app: str) -> None:
    silent, busy, waiting = (uploaded(catalog, app) for _ in range(3))
    catalog.claim(app, silent, "m1", -10)
    catalog.claim(app, busy, "m1", 60)

    def told() -> list[str]:
        return [item.media_id for item in catalog.take_abandoned(5, 3_600) if item.app == app]

    assert told() == [silent]
    assert told() == []
    assert waiting in [item.media_id for item in catalog.take_abandoned(5, -1)]


def test_other_apps_see_nothing(catalog: MediaRepository, app: str) -> None:
    media_id = uploaded(catalog, app)
    assert catalog.get(f"{app}-other", media_id) is None
    assert catalog.claim(f"{app}-other", media_id, "m1", 60) is None
    assert catalog.of_customer(f"{app}-other", "fam", 10) == []


def test_pages_go_on_where_they_ended(catalog: MediaRepository, app: str) -> None:
    ids = {declared(catalog, app) for _ in range(7)}
    declared(catalog, app, "another family")
    seen, before = [], None
    while page := catalog.of_customer(app, "fam", 3, before):
        seen += [item.media_id for item in page]
        before = (page[-1].created_at_ms, page[-1].media_id)
    assert len(seen) == 7
    assert set(seen) == ids


def test_migration_again_and_at_once_keeps_the_data(url: str, catalog: MediaRepository, app: str) -> None:
    media_id = uploaded(catalog, app)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(migrate, [url] * 3))
    assert catalog.get(app, media_id)


def test_migrated_tables_are_those_of_the_models(url: str, catalog: MediaRepository) -> None:
    engine = _engine(url)
    found = sa.inspect(engine)
    for table in Base.metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: column.nullable for column in table.columns}
        indexes = {index["name"] for index in found.get_indexes(table.name)}
        assert indexes >= {index.name for index in table.indexes}
    engine.dispose()


def test_catalog_without_tables_is_worth_waiting_for(tmp_path: Path) -> None:
    empty = open_catalog(f"sqlite:///{tmp_path}/empty.sqlite3")
    with pytest.raises(RetryableError, match="no such table"):
        empty.check()
    empty.close()
