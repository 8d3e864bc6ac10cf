"""Who may see and change what: every route of the OpenAPI page, with every kind of caller."""

import asyncio
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from kinstream import keys
from kinstream.catalog import migrate
from kinstream.events import format_time_ms
from kinstream.registry import parse_key
from kinstream.resources import (
    TABLE_COUNTERS,
    TABLE_LEDGER,
    TABLE_OUTBOX,
    TABLE_RECOMMENDATIONS,
    TABLE_RECORDS,
    TABLE_REGISTRY,
)
from kinstream.settings import CoreSettings
from kinstream_devkit.apps import Apps
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.access import ALERT, CASES, CONTENT, CUSTOMER, DEVICE, PERSON, PLACE, Case, operations
from tests.support.engine import engine, event
from tests.support.ingest import Service, now_ms, start, stop
from tests.support.oidc import AUDIENCE, ISSUER, Provider, Signer, provider
from tests.support.stack import eventually

TABLES = (
    TABLE_LEDGER,
    TABLE_COUNTERS,
    TABLE_RECORDS,
    TABLE_OUTBOX,
    TABLE_REGISTRY,
    TABLE_RECOMMENDATIONS,
)
CANARY = "canary"
"""Within everything that is held on the customer, so that an answer which tells of it is known by it."""

ROUTES = [(method, path, case) for (method, path), case in CASES.items()]
OF_A_CUSTOMER = [route for route in ROUTES if route[2].who in ("customer", "guardian", "declarer", "owner")]
SENDING = [route for route in ROUTES if route[2].who == "keys"]
GUARDED = [route for route in ROUTES if route[2].who not in ("anybody", "keys", "signed")]
WITHOUT_CANARY = ("/v1/media", "/v1/stream")


@dataclass
class World:
    """A running API that trusts a provider, and what it keeps its data in."""

    service: Service
    provider: Provider
    signer: Signer
    catalog: Path

    def apps(self) -> Apps:
        return Apps(self.service.aws("dynamodb"), self.service.settings.names)

    def stored(self) -> dict[tuple[str, ...], Any]:
        """Every row of every table and of the catalog."""
        dynamodb, names = self.service.aws("dynamodb"), self.service.settings.names
        rows: dict[tuple[str, ...], Any] = {}
        for table in TABLES:
            for page in dynamodb.get_paginator("scan").paginate(TableName=names.of(table)):
                rows |= {(table, item["pk"]["S"], item["sk"]["S"]): item for item in page["Items"]}
        with closing(sqlite3.connect(f"file:{self.catalog}?mode=ro", uri=True)) as database:
            tables = [
                name for (name,) in database.execute("select name from sqlite_master where type='table'")
            ]
            for table in tables:
                held = database.execute(f'select * from "{table}"')  # noqa: S608 - its own names
                rows |= {("catalog", table, repr(row)): row for row in held}
        return rows


@dataclass
class Family:
    """A customer of an app of its own, on whom something of everything is held."""

    world: World
    app: str
    media_id: str
    clients: ExitStack

    def client(self, credential: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        client = httpx.Client(base_url=self.world.service.url, headers=headers, timeout=60, trust_env=False)
        return self.clients.enter_context(client)

    def key(self, kind: Any, app: str | None = None) -> httpx.Client:
        return self.client(self.world.apps().create(app or self.app, kind))

    def token(self, **claims: Any) -> httpx.Client:
        return self.client(self.world.signer.token(**({"app": self.app, "customer_id": CUSTOMER} | claims)))

    def call(self, client: httpx.Client, method: str, path: str, case: Case, **other: Any) -> httpx.Response:
        ids = {
            "customer_id": CUSTOMER,
            "alert_id": ALERT,
            "place_id": PLACE,
            "person_id": PERSON,
            "content_id": CONTENT,
            "media_id": self.media_id,
            "file_name": "hls.m3u8",
        }
        address = path.format(**{name: quote(value, safe="") for name, value in ids.items()})
        with client.stream(method, address, params=case.query, json=case.body, **other) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                # It has no end: what comes first has to do.
                return httpx.Response(answer.status_code, content=next(answer.iter_bytes()))
            answer.read()
            return answer


@pytest.fixture(scope="module")
def world(
    module_settings: CoreSettings, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("access")
    provision(module_settings, processor_queues())
    migrate(f"sqlite:///{folder}/catalog.sqlite3")
    signer = Signer("ES256")
    with provider(signer) as running:
        service = start(module_settings, folder, tokens_of(running) | {"KINSTREAM_REDIS_URL": redis_url})
        yield World(service, running, signer, folder / "catalog.sqlite3")
        assert stop(service) == 0


def tokens_of(running: Provider) -> dict[str, str]:
    return {
        "KINSTREAM_OIDC_ISSUER": ISSUER,
        "KINSTREAM_OIDC_AUDIENCE": AUDIENCE,
        "KINSTREAM_OIDC_JWKS_URL": running.url,
        "KINSTREAM_OIDC_APP_CLAIM": "app",
        "KINSTREAM_OIDC_KEYS_COOLDOWN_SECONDS": "0.5",
        "KINSTREAM_KEY_CACHE_SECONDS": "0.5",
        "KINSTREAM_RATE_LIMIT_REQUESTS_PER_SECOND": "0",
    }


@pytest.fixture
def family(world: World) -> Iterator[Family]:
    with ExitStack() as clients:
        one = Family(world, f"app{uuid.uuid4().hex[:8]}", "", clients)
        secret = one.key("secret")
        for method, path, case in ROUTES:
            if (method, path) == ("POST", "/v1/media"):
                one.media_id = one.call(secret, method, path, case).json()["media_id"]
        asyncio.run(fill(world.service, one.app))
        yield one


async def fill(service: Service, app: str) -> None:
    """Put something of everything into the tables."""
    alert = {"alert_id": ALERT, "kind": "location.unknown", "person_id": CANARY, "raised_at_ms": 1_000}
    alert |= {"resolved_at_ms": None, "withdrawn_at_ms": None, "latitude": 1.5, "longitude": 2.5}
    service.put(TABLE_RECORDS, keys.alert(app, CUSTOMER, ALERT), alert | {"acknowledged_by": None})
    place = {"place_id": PLACE, "name": CANARY, "latitude": 1.5, "longitude": 2.5, "radius_m": 50}
    service.put(TABLE_REGISTRY, keys.place(app, CUSTOMER, PLACE), place)
    person = {"person_id": PERSON, "name": CANARY, "role": "child"}
    service.put(TABLE_REGISTRY, keys.person(app, CUSTOMER, PERSON), person)
    service.put(
        TABLE_COUNTERS, keys.customer_counters(app, CUSTOMER), {"events": 3, f"type:{CANARY}.seen": 3}
    )
    service.put(TABLE_COUNTERS, keys.content_counters(app, CONTENT, 0), {"likes": 1_234, "views": 1_234})
    service.put(TABLE_RECOMMENDATIONS, keys.recommendation_pointer(app), {"run_id": "r1"})
    chosen = {"run_id": "r1", "items": [{"content_id": CANARY, "score": 0.9, "because": []}]}
    service.put(
        TABLE_RECOMMENDATIONS,
        keys.recommendations(app, CUSTOMER, "r1"),
        chosen | {"expires_at": now_ms() // 1000 + 3_600},
    )
    seen = event(
        customer_id=CUSTOMER,
        device_id=DEVICE,
        occurred_at=format_time_ms(now_ms() - 60_000),
        data={"activity": CANARY},
    )
    async with engine(service.settings) as (worker,):
        await worker.run("activity", [seen], app=app)


def told(answer: httpx.Response) -> tuple[int, str]:
    assert set(answer.json()) == {"code", "message", "detail"}
    return answer.status_code, answer.json()["code"]


def in_order_of_harm(route: tuple[str, str, Case]) -> int:
    return ("GET", "POST", "PUT", "DELETE").index(route[0])


def test_every_route_has_a_case(world):
    page = httpx.get(world.service.url + "/openapi.json", timeout=60, trust_env=False).json()
    assert operations(page) - set(CASES) == set(), "add the new routes to tests/support/access.py"
    assert set(CASES) - operations(page) == set(), "take the routes that are gone out of it"


def test_every_route_that_names_a_customer_is_for_that_customer_alone(world):
    page = httpx.get(world.service.url + "/openapi.json", timeout=60, trust_env=False).json()
    for method, path, case in ROUTES:
        described = page["paths"][path][method.lower()].get("parameters", [])
        names_one = any(parameter["name"] == "customer_id" for parameter in described)
        assert names_one == (case.who in ("customer", "guardian")), (method, path)


def test_without_a_key_nothing_is_told_or_changed(world, family):
    before = world.stored()
    nobody, stranger = family.client(""), family.client(f"ks_{family.app}_{'x' * 32}")
    for method, path, case in GUARDED:
        assert told(family.call(nobody, method, path, case)) == (401, "missing_key"), path
        assert told(family.call(stranger, method, path, case)) == (401, "unknown_key"), path
    for method, path, case in SENDING:
        assert 400 <= family.call(nobody, method, path, case).status_code < 500, path
        assert told(family.call(stranger, method, path, case)) == (401, "unknown_key"), path
    assert world.stored() == before


def test_what_needs_no_key_tells_of_nobody(world, family):
    for method, path, case in ROUTES:
        if case.who == "anybody":
            answer = family.call(family.client(""), method, path, case)
            assert answer.status_code == case.status
            assert CANARY not in answer.text
            assert family.app not in answer.text


def test_a_signed_address_is_opened_by_its_signature_alone(world, family):
    callers = [family.client(""), family.key("write"), family.key("secret"), family.token()]
    for method, path, case in ROUTES:
        if case.who == "signed":
            for caller in callers:
                assert told(family.call(caller, method, path, case)) == (403, "unsigned"), path


def test_no_token_gets_what_speaks_for_the_whole_app(world, family):
    for method, path, case in GUARDED:
        if case.who == "servers":
            assert family.call(family.key("secret"), method, path, case).status_code == case.status
            for token in (family.token(), family.token(role="child")):
                assert told(family.call(token, method, path, case)) == (403, "secret_key_required")


def test_a_write_key_only_sends_and_declares(world, family):
    writer = family.key("write")
    before = world.stored()
    for method, path, case in GUARDED:
        if case.who != "declarer":
            assert told(family.call(writer, method, path, case)) == (403, "secret_key_required"), path
    assert world.stored() == before
    for method, path, case in GUARDED:
        if case.who == "declarer":
            assert family.call(writer, method, path, case).status_code == case.status


def test_a_secret_key_and_a_guardians_token_do_everything_for_the_customer(world, family):
    for caller in (family.key("secret"), family.token(role="guardian", sub="parent-9")):
        asyncio.run(fill(world.service, family.app))
        for method, path, case in sorted(GUARDED, key=in_order_of_harm):
            if case.who == "servers":
                continue
            answer = family.call(caller, method, path, case)
            assert answer.status_code == case.status, (method, path, answer.text)
            if method == "GET" and case.who in ("customer", "guardian") and path not in WITHOUT_CANARY:
                assert CANARY in answer.text, path
    listed = family.call(family.key("secret"), "GET", "/v1/media", CASES["GET", "/v1/media"]).json()
    assert family.media_id in [one["media_id"] for one in listed["media"]]


def test_a_token_acknowledges_for_its_own_person(family):
    acknowledge = "POST", "/v1/customers/{customer_id}/alerts/{alert_id}/acknowledge"
    answer = family.call(family.token(sub="parent-9"), *acknowledge, CASES[acknowledge])
    assert answer.json()["acknowledged_by"] == "parent-9"


def test_a_childs_token_reads_what_is_not_for_guardians_and_changes_nothing(world, family):
    child = family.token(role="child", sub="kid-1")
    before = world.stored()
    for method, path, case in GUARDED:
        if case.who == "guardian":
            assert told(family.call(child, method, path, case)) == (403, "guardian_required"), path
    assert world.stored() == before
    for method, path, case in GUARDED:
        if case.who not in ("guardian", "servers"):
            assert family.call(child, method, path, case).status_code == case.status, path


def test_another_app_finds_nothing_and_changes_nothing(world, family):
    others = [f"app{uuid.uuid4().hex[:8]}" for _ in range(3)]
    strangers = [
        family.key("secret", others[0]),
        family.token(app=others[1]),
        family.token(app=others[2], role="child"),
    ]
    before = world.stored()
    for stranger in strangers:
        # What names a thing comes first: afterwards the stranger has things of its own by these ids.
        for method, path, case in sorted(GUARDED, key=lambda route: not route[2].names_a_thing):
            answer = family.call(stranger, method, path, case)
            if case.names_a_thing:
                assert told(answer) in ((404, "not_found"), (403, "guardian_required")), (method, path)
            assert CANARY not in answer.text, (method, path)
            assert "1234" not in answer.text, (method, path)
            assert family.media_id not in answer.text, (method, path)
    after = world.stored()
    assert {row: after.get(row) for row in before} == before
    assert not [row for row in set(after) - set(before) if family.app in repr(row)]


def test_another_customers_token_gets_404_from_every_route_and_changes_nothing(world, family):
    before = world.stored()
    for stranger in ("fam", "fam/2", "fam/1 ", "FAM/1", "fam%2F1", "*", CUSTOMER + "\0"):
        token = family.token(customer_id=stranger)
        for method, path, case in OF_A_CUSTOMER:
            assert told(family.call(token, method, path, case)) == (404, "not_found"), (method, path)
    assert world.stored() == before


def test_a_customer_that_is_named_twice_does_not_open_another_one(family):
    mine = family.token(customer_id="fam-2")
    for query in ("customer_id=fam-2&customer_id=fam%2F1", "customer_id=fam%2F1&customer_id=fam-2"):
        answer = mine.get(f"/v1/media?{query}")
        assert answer.status_code == 404 or answer.json() == {"media": [], "next": None}
    body = b'{"customer_id":"fam-2","customer_id":"fam/1","content_type":"image/jpeg","bytes":9}'
    declared = mine.post("/v1/media", content=body, headers={"Content-Type": "application/json"})
    assert told(declared) == (404, "not_found")
    for path in ("/v1/customers/fam-2/../fam%2F1/counters", "/v1/customers/fam-2%2F..%2Ffam%2F1/counters"):
        assert mine.get(path).status_code == 404


def test_a_token_sends_no_events(world, family):
    before = world.stored()
    for method, path, case in SENDING:
        status, code = told(family.call(family.token(), method, path, case))
        assert (status in (400, 403), code) == (True, "key_required"), path
    assert world.stored() == before


def test_tokens_that_must_not_be_believed_open_no_route(world, family):
    stranger = Signer("ES256", world.signer.name)
    soon = now_ms() // 1000 - 61
    said = {"app": family.app, "customer_id": CUSTOMER}
    bad = [
        (world.signer.token(**said, exp=soon), "token_expired"),
        (world.signer.token(**said, aud="another"), "invalid_token"),
        (world.signer.token(**said, iss="https://id.example.com/"), "invalid_token"),
        (world.signer.token(**said, role="admin"), "invalid_token"),
        (world.signer.token(**said | {"customer_id": None}), "invalid_token"),
        (world.signer.token(**said | {"app": None}), "invalid_token"),
        (stranger.token(**said), "invalid_token"),
        (stranger.token({"jwk": stranger.public}, **said), "invalid_token"),
    ]
    before = world.stored()
    for token, code in bad:
        client = family.client(token)
        for method, path, case in GUARDED:
            assert told(family.call(client, method, path, case)) == (401, code), path
    assert world.stored() == before


def test_a_rotated_key_of_the_provider_is_taken_and_a_withdrawn_one_is_not(module_settings, tmp_path):
    old, new = Signer("RS256"), Signer("EdDSA")
    migrate(f"sqlite:///{tmp_path}/catalog.sqlite3")
    provision(module_settings, processor_queues())
    with provider(old) as running, ExitStack() as clients:
        service = start(module_settings, tmp_path, tokens_of(running))
        try:
            one = Family(World(service, running, old, tmp_path), "any", "", clients)

            def status(signer: Signer) -> int:
                client = one.client(signer.token(app="any", customer_id=CUSTOMER))
                return client.get("/v1/customers/fam%2F1/counters").status_code

            assert (status(old), status(new)) == (200, 401)
            running.publish(old, new)
            eventually(lambda: status(new) == 200, "the new key works")
            assert status(old) == 200
            running.publish(new)
            eventually(lambda: status(Signer()) == 401 and status(old) == 401, "the old keys stop")
            assert status(new) == 200
            running.status = 500
            for _ in range(20):
                assert (status(Signer()), status(new)) == (401, 200)
        finally:
            assert stop(service) == 0


def test_two_keys_live_at_once_and_a_revoked_one_stops(world, family):
    apps = world.apps()
    old, new = apps.create(family.app, "secret"), apps.create(family.app, "secret")

    def status(key: str) -> int:
        return family.client(key).get("/v1/trending").status_code

    assert (status(old), status(new)) == (200, 200)
    apps.revoke(family.app, parse_key(old).hash[:12])
    eventually(lambda: status(old) == 401, "the revoked key stops")
    assert status(new) == 200


def test_the_registry_holds_no_key_from_which_one_could_be_told(world, family):
    texts = [world.apps().create(family.app, kind) for kind in ("write", "secret")]
    rows = repr([row for place, row in world.stored().items() if place[0] == TABLE_REGISTRY])
    assert family.app in rows
    for text in texts:
        random = text.rpartition("_")[2]
        assert all(random[at : at + 12] not in rows for at in range(len(random) - 12))
