"""What the catalog promises, on SQLite and on Postgres."""

import os
import socket
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from kinstream.catalog import (
    FINALIZE,
    MAIN,
    Claim,
    Hold,
    Item,
    MediaRepository,
    Missing,
    NewItem,
    NewStep,
    Rendition,
    Role,
    State,
    StepState,
    migrate,
    open_catalog,
    open_work,
)
from kinstream.catalog.database import create_engine
from kinstream.catalog.models import Base
from kinstream.clock import now_ms
from kinstream.errors import RetryableError
from tests.support.databases import empty_database

MP4 = Rendition("video", "video", "demo/m/video.mp4", "video/mp4", 1000, 352, 288, 6.0)
MANIFEST = Rendition(
    "hls",
    "hls",
    "demo/m/hls.m3u8",
    "application/vnd.apple.mpegurl",
    50,
    codecs="avc1.4d401f",
    detail={"a": [1]},
)
POSTER = Rendition("poster", "image", "demo/m/poster.jpg", "image/jpeg", 100, 384, 288)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/catalog.sqlite3"


class Catalog:
    """Both sides of one catalog: what the API sees and what workers do."""

    def __init__(self, url: str) -> None:
        self.api, self.work = open_catalog(url), open_work(url)

    def close(self) -> None:
        self.api.close()
        self.work.close()


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    migrate(url)
    opened = Catalog(url)
    yield opened
    opened.close()


@pytest.fixture
def app() -> str:
    return f"app-{uuid.uuid4().hex}"


def declared(catalog: Catalog, app: str, customer_id: str = "fam") -> str:
    media_id = uuid.uuid4().hex
    catalog.api.declare(NewItem(app, media_id, customer_id, "video", "video/3gpp", 1000))
    return media_id


def uploaded(catalog: Catalog, app: str) -> str:
    media_id = declared(catalog, app)
    assert catalog.work.mark_uploaded(app, media_id, 900)
    return media_id


def part(name: str, *, essential: bool = True, cost_seconds: float = 10) -> NewStep:
    return NewStep(name, "media-large", {"rendition": name}, cost_seconds, essential)


def claimed(catalog: Catalog, app: str, media_id: str, step: str = MAIN, message: str = "m1") -> Claim:
    claim = catalog.work.claim(app, media_id, step, message, 60)
    assert claim is not None
    return claim


def made_ready(catalog: Catalog, app: str) -> str:
    media_id = uploaded(catalog, app)
    catalog.work.complete(claimed(catalog, app, media_id), [MP4])
    assert catalog.work.finish(claimed(catalog, app, media_id, FINALIZE), [])
    return media_id


def test_small_item_goes_from_declared_to_ready_with_its_renditions(catalog: Catalog, app: str) -> None:
    media_id = declared(catalog, app)
    assert catalog.api.get(app, media_id).state == State.DECLARED
    catalog.work.mark_uploaded(app, media_id, 900)
    claim = claimed(catalog, app, media_id)
    assert catalog.work.report_progress(claim, 40)
    item = catalog.api.get(app, media_id)
    assert (item.state, item.progress) == (State.PROCESSING, 40)
    assert catalog.work.complete(claim, [MP4, POSTER], facts={"format": "mov"})
    assert catalog.api.get(app, media_id).renditions == ()
    assert catalog.work.finish(claimed(catalog, app, media_id, FINALIZE), [MANIFEST])

    item = catalog.api.get(app, media_id)
    assert (item.state, item.progress, item.renditions) == (State.READY, 100, (MP4, POSTER, MANIFEST))
    assert item.facts == {"format": "mov"}


def test_large_item_is_ready_when_the_last_of_its_parts_is_done(catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)
    assert catalog.work.plan(claimed(catalog, app, media_id), {}, [part("video"), part("hls-720")])
    assert [task.step for task in catalog.work.waiting(app, media_id, Role.PART)] == ["video", "hls-720"]
    first, second = (claimed(catalog, app, media_id, name, name) for name in ("video", "hls-720"))
    assert first.order == {"rendition": "video"}
    assert catalog.work.report_progress(first, 50)
    assert 20 < catalog.api.get(app, media_id).progress < 40
    catalog.work.complete(second, [POSTER])

    assert catalog.work.claim(app, media_id, FINALIZE, "m1", 60) is None
    catalog.work.complete(first, [MP4])
    last = claimed(catalog, app, media_id, FINALIZE)
    assert catalog.work.made_so_far(last) == (MP4, POSTER)
    assert catalog.work.finish(last, [])
    assert catalog.api.get(app, media_id).renditions == (MP4, POSTER)


def test_parts_done_at_once_are_finalized_by_one_worker(url: str, catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)
    names = [f"part-{number}" for number in range(6)]
    catalog.work.plan(claimed(catalog, app, media_id), {}, [part(name) for name in names])
    workers = [open_work(url) for _ in names]

    def carry_out(number: int) -> bool:
        work, name = workers[number], names[number]
        work.complete(work.claim(app, media_id, name, name, 60), [])
        return work.claim(app, media_id, FINALIZE, name, 60) is not None

    with ThreadPoolExecutor(len(names)) as pool:
        finalized = list(pool.map(carry_out, range(len(names))))
    for work in workers:
        work.close()
    assert finalized.count(True) == 1


def test_extra_that_fails_is_told_and_essential_that_fails_fails_the_item(catalog: Catalog, app: str) -> None:
    fine, bad = uploaded(catalog, app), uploaded(catalog, app)
    for media_id in (fine, bad):
        catalog.work.plan(
            claimed(catalog, app, media_id), {}, [part("video"), part("preview", essential=False)]
        )
    catalog.work.complete(claimed(catalog, app, fine, "video"), [MP4])
    catalog.work.fail(claimed(catalog, app, fine, "preview"), "no keyframe")
    catalog.work.finish(claimed(catalog, app, fine, FINALIZE), [])
    catalog.work.fail(claimed(catalog, app, bad, "video"), "no picture")

    item = catalog.api.get(app, fine)
    assert (item.state, item.missing) == (State.READY, (Missing("preview", "no keyframe"),))
    item = catalog.api.get(app, bad)
    assert (item.state, item.reason) == (State.FAILED, "no picture")
    assert catalog.work.claim(app, bad, "preview", "m2", 60) is None
    assert catalog.work.claim(app, bad, FINALIZE, "m2", 60) is None


def test_failed_item_leaves_no_step_to_send_to_sweep_or_to_hold(catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)
    catalog.work.plan(
        claimed(catalog, app, media_id), {}, [part(name) for name in ("video", "hls-720", "hls-480")]
    )
    encoding = catalog.work.claim(app, media_id, "hls-720", "m7", -1_000)
    catalog.work.fail(claimed(catalog, app, media_id, "video"), "tried 5 times", exhausted=True)

    assert catalog.work.waiting(app, media_id, Role.PART) == []
    assert [one for one in catalog.work.take_abandoned(5, -1) if one.hold.app == app] == []
    assert not catalog.work.complete(encoding, [])
    # Tried anew under another message it goes on, and says that the others are to be sent again.
    again = claimed(catalog, app, media_id, "video", "m8")
    assert again.is_reopened
    assert [task.step for task in catalog.work.waiting(app, media_id, Role.PART)] == ["hls-720", "hls-480"]
    # Should it die before it has sent them, the next sweep does.
    swept = [one.task.step for one in catalog.work.take_abandoned(5, 3_600) if one.hold.app == app]
    assert sorted(swept) == ["hls-480", "hls-720"]


def test_variant_that_nobody_begins_is_told_to_whoever_asks_a_minute_later(url: str, app: str) -> None:
    migrate(url)
    catalog = Catalog(url)
    media_id = made_ready(catalog, app)
    assert catalog.api.order_variant(app, media_id, "image-w64", {}, most=9)
    later = MediaRepository(create_engine(url), lambda: now_ms() + 61_000)
    assert later.order_variant(app, media_id, "image-w64", {}, most=9)
    assert not later.order_variant(app, media_id, "image-w64", {}, most=9)
    later.close()
    catalog.close()


def test_step_made_again_replaces_what_it_made(catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)
    catalog.work.complete(claimed(catalog, app, media_id), [MP4, POSTER])
    last = claimed(catalog, app, media_id, FINALIZE)
    catalog.work.finish(last, [MANIFEST])
    assert not catalog.work.finish(last, [])
    assert catalog.api.get(app, media_id).renditions == (MP4, POSTER, MANIFEST)


def test_item_that_is_not_uploaded_cannot_be_claimed(catalog: Catalog, app: str) -> None:
    assert catalog.work.claim(app, declared(catalog, app), MAIN, "m1", 60) is None


def test_ready_item_is_left_alone_by_duplicates(catalog: Catalog, app: str) -> None:
    media_id = made_ready(catalog, app)

    assert not catalog.work.mark_uploaded(app, media_id, 5)
    for step in (MAIN, FINALIZE):
        assert catalog.work.claim(app, media_id, step, "m1", 60) is None
        assert catalog.work.claim(app, media_id, step, "m2", 60) is None
    assert catalog.api.get(app, media_id).renditions == (MP4,)


def test_redelivered_message_takes_over_and_the_old_holder_can_write_no_more(
    catalog: Catalog, app: str
) -> None:
    media_id, work = uploaded(catalog, app), catalog.work
    old = claimed(catalog, app, media_id)
    assert work.claim(app, media_id, MAIN, "another message", 60) is None
    new = claimed(catalog, app, media_id)

    assert new.attempt == old.attempt + 1
    for lost in (
        work.extend(old, 60),
        work.report_progress(old, 50),
        work.release(old),
        work.fail(old, "no"),
        work.plan(old, {}, [part("video")]),
        work.complete(old, [MP4]),
    ):
        assert not lost
    assert work.complete(new, [POSTER])
    work.finish(claimed(catalog, app, media_id, FINALIZE), [])
    assert catalog.api.get(app, media_id).renditions == (POSTER,)


def test_another_message_takes_over_when_the_lease_has_ended(catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)
    catalog.work.claim(app, media_id, MAIN, "m1", -1)
    assert catalog.work.claim(app, media_id, MAIN, "m2", 60).attempt == 2


def test_released_step_is_claimed_again(catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)
    assert catalog.work.release(claimed(catalog, app, media_id))
    assert catalog.work.claim(app, media_id, MAIN, "m2", 60)


def test_failure_is_final_unless_it_came_from_trying_too_often(catalog: Catalog, app: str) -> None:
    hopeless, unlucky = uploaded(catalog, app), uploaded(catalog, app)
    catalog.work.fail(claimed(catalog, app, hopeless), "no media")
    catalog.work.fail(claimed(catalog, app, unlucky), "tried 5 times", exhausted=True)

    assert catalog.work.claim(app, hopeless, MAIN, "m2", 60) is None
    before = now_ms() - 1_000
    assert catalog.work.claim(app, unlucky, MAIN, "m1", 60, sent_at_ms=before) is None
    assert catalog.work.claim(app, unlucky, MAIN, "m2", 60, sent_at_ms=before) is None
    assert catalog.work.claim(app, unlucky, MAIN, "m3", 60)
    assert catalog.api.get(app, hopeless).reason == "no media"
    assert catalog.api.get(app, unlucky).state == State.PROCESSING


def test_step_that_is_brought_back_has_all_its_tries_again(catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)

    def lost(message: str) -> tuple[int, int]:
        """(tries, attempts), once whoever claimed it is lost."""
        assert catalog.work.claim(app, media_id, MAIN, message, -10)
        (one,) = (one for one in catalog.work.take_abandoned(5, 3_600) if one.hold.app == app)
        return one.tries, one.hold.attempt

    assert [lost("m1"), lost("m2")] == [(1, 1), (2, 2)]
    assert catalog.work.fail(Hold(app, media_id, MAIN, 2), "tried 2 times", exhausted=True)
    assert [lost("m3"), lost("m3")] == [(1, 3), (2, 4)]


def test_dead_letter_of_an_extra_does_not_open_its_failed_item(catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)
    catalog.work.plan(claimed(catalog, app, media_id), {}, [part("video"), part("hls-720", essential=False)])
    catalog.work.fail(claimed(catalog, app, media_id, "hls-720"), "tried 5 times", exhausted=True)
    catalog.work.fail(claimed(catalog, app, media_id, "video"), "another file was uploaded")

    assert catalog.work.claim(app, media_id, "hls-720", "m9", 60) is None
    assert catalog.api.get(app, media_id).state == State.FAILED


def test_last_step_waits_to_be_sent_only_when_nothing_stands_before_it(catalog: Catalog, app: str) -> None:
    media_id, work = uploaded(catalog, app), catalog.work
    work.plan(claimed(catalog, app, media_id), {}, [part("video"), part("hls-720", essential=False)])

    def waiting() -> list[str]:
        return [task.step for task in work.waiting(app, media_id, Role.FINALIZE)]

    work.complete(claimed(catalog, app, media_id, "video"), [MP4])
    assert waiting() == []
    work.fail(claimed(catalog, app, media_id, "hls-720"), "tried 5 times", exhausted=True)
    assert waiting() == [FINALIZE]
    last = claimed(catalog, app, media_id, FINALIZE)
    assert waiting() == []
    # Failed itself, it is brought back by people alone: else it would be tried for ever.
    work.fail(last, "tried 5 times", exhausted=True)
    assert waiting() == []


def test_of_many_that_claim_at_once_one_succeeds(url: str, catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)
    others = [open_work(url) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        claims = list(
            pool.map(lambda n: others[n].claim(app, media_id, MAIN, f"m{n}", 60), range(len(others)))
        )
    for other in others:
        other.close()
    assert len([claim for claim in claims if claim]) == 1


def test_abandoned_steps_are_told_a_few_at_a_time(catalog: Catalog, app: str) -> None:
    silent = {uploaded(catalog, app) for _ in range(3)}
    for media_id in silent:
        catalog.work.claim(app, media_id, MAIN, "m1", -10)
    told = list[str]()
    while some := catalog.work.take_abandoned(5, 3_600, limit=2):
        assert len(some) <= 2
        told += [one.task.media_id for one in some if one.task.app == app]
    assert sorted(told) == sorted(silent)


def test_abandoned_steps_are_told_to_one_caller(catalog: Catalog, app: str) -> None:
    silent, busy, waiting = (uploaded(catalog, app) for _ in range(3))
    catalog.work.claim(app, silent, MAIN, "m1", -10)
    catalog.work.claim(app, busy, MAIN, "m1", 60)

    def told(waiting_seconds: float = 3_600) -> list[str]:
        found = catalog.work.take_abandoned(5, waiting_seconds)
        return [one.task.media_id for one in found if one.task.app == app]

    assert told() == [silent]
    assert told() == []
    assert waiting in told(-1)


def test_end_of_an_item_is_announced_until_that_is_recorded(catalog: Catalog, app: str) -> None:
    ready, failed = made_ready(catalog, app), uploaded(catalog, app)
    catalog.work.fail(claimed(catalog, app, failed), "tried 5 times", exhausted=True)
    uploaded(catalog, app)

    def told() -> list[Item]:
        return [item for item in catalog.work.unannounced(2**62, 1_000) if item.app == app]

    before = told()
    assert [item.media_id for item in before] == [ready, failed]
    catalog.work.mark_announced(before[0])
    assert [item.media_id for item in told()] == [failed]
    # Tried anew in the meantime: what is recorded for the old end says nothing of the new one.
    claim = claimed(catalog, app, failed, message="m2")
    assert told() == []
    catalog.work.mark_announced(before[1])
    catalog.work.complete(claim, [])
    catalog.work.finish(claimed(catalog, app, failed, FINALIZE), [])
    assert [(item.media_id, item.state) for item in told()] == [(failed, State.READY)]


def test_variant_is_ordered_once_made_and_kept_apart(catalog: Catalog, app: str) -> None:
    media_id = made_ready(catalog, app)
    assert catalog.api.variant(app, media_id, "image-w64") is None
    assert catalog.api.order_variant(app, media_id, "image-w64", {"width": 64}, most=9)
    assert not catalog.api.order_variant(app, media_id, "image-w64", {"width": 64}, most=9)
    assert catalog.api.variant(app, media_id, "image-w64").state == StepState.WAITING
    claim = claimed(catalog, app, media_id, "image-w64")
    assert (claim.role, claim.order) == (Role.VARIANT, {"width": 64})
    small = replace(POSTER, name="image-w64")
    assert catalog.work.complete(claim, [small])

    assert catalog.api.variant(app, media_id, "image-w64").rendition == small
    item = catalog.api.get(app, media_id)
    assert (item.state, item.progress, item.renditions) == (State.READY, 100, (MP4,))


def test_variant_of_an_item_that_is_not_ready_is_not_ordered(catalog: Catalog, app: str) -> None:
    assert not catalog.api.order_variant(app, uploaded(catalog, app), "image-w64", {}, most=9)
    assert not catalog.api.order_variant(app, "unknown", "image-w64", {}, most=9)


def test_variant_that_failed_leaves_its_item_ready(catalog: Catalog, app: str) -> None:
    media_id = made_ready(catalog, app)
    catalog.api.order_variant(app, media_id, "image-w64", {}, most=9)
    catalog.work.fail(claimed(catalog, app, media_id, "image-w64"), "tried 5 times", exhausted=True)

    assert catalog.api.get(app, media_id).state == State.READY
    assert catalog.api.variant(app, media_id, "image-w64").reason == "tried 5 times"
    assert catalog.api.order_variant(app, media_id, "image-w64", {}, most=9)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_work_of_the_first_version_is_carried_over(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A catalog of the first version, with an item in each state."""
    url = f"sqlite:///{tmp_path}/old.sqlite3"
    if backend == "postgres":
        database = empty_database(str(request.getfixturevalue("postgres_url")))
        url = database.render_as_string(hide_password=False)
    migrate(url, "0001")
    engine = create_engine(url)
    states = ("declared", "uploaded", "processing", "ready", "failed")
    with engine.begin() as connection:
        for state in states:
            connection.execute(
                sa.text(
                    "INSERT INTO media_items (app, media_id, customer_id, kind, content_type, declared_bytes,"
                    " state, exhausted, progress, attempt, created_at_ms, updated_at_ms)"
                    " VALUES ('a', :state, 'fam', 'video', 'video/mp4', 1, :state, false, 5, 1, 1, 1)"
                ),
                {"state": state},
            )
        connection.execute(
            sa.text(
                "INSERT INTO media_renditions (app, media_id, name, position, kind, object_key, content_type,"
                " size_bytes) VALUES ('a', 'ready', 'video', 0, 'video', 'k', 'video/mp4', 5)"
            )
        )
    engine.dispose()
    migrate(url)
    catalog = Catalog(url)
    items = {state: catalog.api.get("a", state) for state in states}
    assert {name: item.state for name, item in items.items()} == dict(
        zip(states, ("declared", "uploaded", "uploaded", "ready", "failed"), strict=True)
    )
    assert [made.name for made in items["ready"].renditions] == ["video"]
    assert catalog.work.unannounced(2**62) == []
    assert {one.task.media_id for one in catalog.work.take_abandoned(5, 60)} == {"uploaded", "processing"}
    assert catalog.work.mark_uploaded("a", "declared", 5)
    assert catalog.work.claim("a", "processing", MAIN, "m", 60)
    catalog.close()


def test_other_apps_see_nothing(catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)
    assert catalog.api.get(f"{app}-other", media_id) is None
    assert catalog.work.claim(f"{app}-other", media_id, MAIN, "m1", 60) is None
    assert catalog.api.of_customer(f"{app}-other", "fam", 10) == []


def test_pages_go_on_where_they_ended(catalog: Catalog, app: str) -> None:
    ids = {declared(catalog, app) for _ in range(7)}
    declared(catalog, app, "another family")
    seen, before = [], None
    while page := catalog.api.of_customer(app, "fam", 3, before):
        seen += [item.media_id for item in page]
        before = (page[-1].created_at_ms, page[-1].media_id)
    assert len(seen) == 7
    assert set(seen) == ids


def test_migration_again_and_at_once_keeps_the_data(url: str, catalog: Catalog, app: str) -> None:
    media_id = uploaded(catalog, app)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(migrate, [url] * 3))
    assert catalog.api.get(app, media_id)


def test_migrated_tables_are_those_of_the_models(url: str, catalog: Catalog) -> None:
    engine = create_engine(url)
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


def test_server_that_swallows_what_it_is_sent_is_given_up() -> None:
    # The kernel takes the connection, and nobody ever reads from it.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        catalog = open_catalog(
            f"postgresql://somebody@127.0.0.1:{port}/catalog?connect_timeout=2&sslmode=disable"
        )
        with pytest.raises(RetryableError, match="cannot be used now"):
            catalog.check()
        catalog.close()


@pytest.mark.skipif(sys.platform != "linux", reason="kernels call these options differently")
def test_connection_to_a_server_that_vanishes_ends_by_itself(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw.info.get_parameters()["connect_timeout"] == "5"
        with socket.socket(fileno=os.dup(raw.fileno())) as wire:
            wanted = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            found = [wire.getsockopt(socket.IPPROTO_TCP, one) for one in wanted]
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    engine.dispose()
    assert found == [10, 5, 3, 20_000]
