"""Speaks the part of OpenSearch's and Dashboards' APIs that we use, and refuses what they refuse.

There is no OpenSearch for tests; the shapes are those of its published API specification (2.x and 3.x).
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema_rs
from aiohttp import web

from kinstream_devkit.embedded.emulator import HOST
from tests.support.background import background_loop

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


_TEXT = {"type": "string", "minLength": 1}
_PATTERNS = {"type": "array", "items": _TEXT, "minItems": 1}
_FIELD = _object(
    ["type"],
    type={"enum": ["keyword", "text", "date", "long", "double", "boolean"]},
    ignore_above={"type": "integer"},
)
_TRANSITION = _object(
    ["state_name"], state_name=_TEXT, conditions=_object([], min_index_age={"pattern": r"^\d+(d|h|m|s|ms)$"})
)
_STATE = _object(
    ["name", "actions", "transitions"],
    name=_TEXT,
    actions={"type": "array", "items": _object([], delete={"type": "object", "maxProperties": 0})},
    transitions={"type": "array", "items": _TRANSITION},
)
_SORT = _object(["order"], order={"enum": ["asc", "desc"]}, unmapped_type=_TEXT)
_CLAUSE = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {
        "range": {"type": "object", "additionalProperties": _object([], gte=_TEXT, lt=_TEXT)},
        "term": {"type": "object", "additionalProperties": {"type": "string"}},
        "match": {
            "type": "object",
            "additionalProperties": _object(["query"], query=_TEXT, operator={"enum": ["and", "or"]}),
        },
    },
    "additionalProperties": False,
}
_CLAUSES = {"type": "array", "items": _CLAUSE}

TEMPLATE = _object(
    ["index_patterns"],
    index_patterns=_PATTERNS,
    priority={"type": "integer"},
    template=_object(
        [],
        settings=_object(
            [],
            number_of_shards={"type": "integer", "minimum": 1},
            number_of_replicas={"type": "integer", "minimum": 0},
            codec={"enum": ["default", "best_compression"]},
        ),
        mappings=_object(
            [],
            dynamic={"enum": [True, False, "strict"]},
            properties={"type": "object", "additionalProperties": _FIELD},
        ),
    ),
)
POLICY = _object(
    ["policy"],
    policy=_object(
        ["description", "default_state", "states"],
        description=_TEXT,
        default_state=_TEXT,
        states={"type": "array", "items": _STATE, "minItems": 1},
        ism_template={
            "type": "array",
            "items": _object(["index_patterns"], index_patterns=_PATTERNS, priority={"type": "integer"}),
        },
    ),
)
SEARCH = _object(
    [],
    query=_object(["bool"], bool=_object([], filter=_CLAUSES, must=_CLAUSES)),
    sort={"type": "array", "items": {"type": "object", "additionalProperties": _SORT}},
    size={"type": "integer", "minimum": 0, "maximum": 10_000},
)


@dataclass
class FakeOpenSearch:
    """What it holds: by name what was set up, and the lines of all indexes."""

    url: str = ""
    templates: dict[str, Any] = field(default_factory=dict)
    policies: dict[str, Any] = field(default_factory=dict)
    saved: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    is_starting: int = 0
    """So many calls are answered with 503 first."""

    def routes(self) -> list[web.RouteDef]:
        """Of both APIs."""
        return [
            web.put("/_index_template/{name}", self._put_template),
            web.get("/_plugins/_ism/policies/{name}", self._get_policy),
            web.put("/_plugins/_ism/policies/{name}", self._put_policy),
            web.post("/{index}/_search", self._search),
            web.post("/api/saved_objects/index-pattern/{name}", self._save),
            web.post("/api/opensearch-dashboards/settings", self._set),
        ]

    @web.middleware
    async def starting(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """503 as long as it starts."""
        if self.is_starting:
            self.is_starting -= 1
            return web.json_response({"error": "not yet"}, status=503)
        return await handler(request)

    async def _put_template(self, request: web.Request) -> web.Response:
        self.templates[request.match_info["name"]] = await _checked(request, TEMPLATE)
        return web.json_response({"acknowledged": True})

    async def _get_policy(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.policies:
            return _error(404, "status_exception", "Policy not found")
        return web.json_response({"_id": name, **self.policies[name]})

    async def _put_policy(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await _checked(request, POLICY)
        states = {state["name"] for state in body["policy"]["states"]}
        targets = {step["state_name"] for state in body["policy"]["states"] for step in state["transitions"]}
        if not targets | {body["policy"]["default_state"]} <= states:
            return _error(400, "illegal_argument_exception", "a state that is named is not there")
        seen = (request.query.get("if_seq_no"), request.query.get("if_primary_term"))
        known = self.policies.get(name)
        if known and seen != (str(known["_seq_no"]), str(known["_primary_term"])):
            return _error(409, "version_conflict_engine_exception", "document already exists")
        number = known["_seq_no"] + 1 if known else 0
        self.policies[name] = {"_version": number + 1, "_seq_no": number, "_primary_term": 1, **body}
        return web.json_response({"_id": name, **self.policies[name]}, status=200 if known else 201)

    async def _search(self, request: web.Request) -> web.Response:
        body = await _checked(request, SEARCH)
        clauses = body["query"]["bool"]
        found = [
            line for line in self.lines if all(_fits(line, one) for kind in clauses.values() for one in kind)
        ]
        found.sort(key=lambda line: line["@timestamp"], reverse=True)
        hits = [{"_index": request.match_info["index"], "_source": line} for line in found[: body["size"]]]
        return web.json_response({"took": 1, "timed_out": False, "hits": {"hits": hits}})

    async def _save(self, request: web.Request) -> web.Response:
        assert request.headers["osd-xsrf"]
        self.saved[request.match_info["name"]] = (await request.json())["attributes"]
        return web.json_response({})

    async def _set(self, request: web.Request) -> web.Response:
        assert request.headers["osd-xsrf"]
        self.settings |= (await request.json())["changes"]
        return web.json_response({})


@contextmanager
def fake_opensearch() -> Iterator[FakeOpenSearch]:
    """Running, in a thread of its own."""
    fake = FakeOpenSearch()
    app = web.Application(middlewares=[fake.starting])
    app.add_routes(fake.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        return int(runner.addresses[0][1])

    with background_loop("opensearch") as loop:
        try:
            fake.url = f"http://{HOST}:{asyncio.run_coroutine_threadsafe(start(), loop).result(120)}"
            yield fake
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(120)


async def _checked(request: web.Request, schema: Mapping[str, Any]) -> Any:
    body = await request.json()
    try:
        jsonschema_rs.validate(schema, body)
    except jsonschema_rs.ValidationError as error:
        raise web.HTTPBadRequest(
            text=json.dumps({"error": {"type": "parsing_exception", "reason": str(error)}, "status": 400}),
            content_type="application/json",
        ) from error
    return body


def _error(status: int, kind: str, reason: str) -> web.Response:
    return web.json_response({"error": {"type": kind, "reason": reason}, "status": status}, status=status)


def _fits(line: Mapping[str, Any], clause: Mapping[str, Any]) -> bool:
    ((kind, by_name),) = clause.items()
    ((name, wanted),) = by_name.items()
    value = line.get(name, "")
    match kind:
        case "term":
            return bool(value == wanted)
        case "match":
            return set(wanted["query"].lower().split()) <= set(re.findall(r"\w+", value.lower()))
        case "range":
            return bool(value >= _time_of(wanted["gte"]))
    raise AssertionError(kind)


def _time_of(text: str) -> str:
    relative = re.fullmatch(r"now-(\d+)([mhd])", text)
    if not relative:
        return text
    ago = timedelta(**{_UNITS[relative[2]]: int(relative[1])})
    return (datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%S.000Z")
