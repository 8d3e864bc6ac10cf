"""An HTTP proxy before the emulator that does to chosen calls what networks and busy tables do to them.

A `Fault` names an operation, how many of its calls are let through first, and what befalls the next ones;
faults can also come by chance, by a seed. The emulator raises no TransactionConflict of its own.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any
from urllib.parse import parse_qs

import aiohttp
from aiohttp import web

from kinstream_devkit.embedded.emulator import HOST
from tests.support.background import background_loop

_MAX_BYTES = 64 * 1024 * 1024
_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Kind(Enum):
    """What befalls a call."""

    CONFLICT = "another transaction touches the same items"
    THROTTLING = "too many calls"
    EXCEEDED = "more than the table's throughput"
    ERROR = "an internal error, and nothing done"
    BEFORE = "the connection breaks before the call arrives"
    LOST = "the call is done and the connection breaks before the answer"
    DELAY = "the call is done late"


@dataclass(frozen=True)
class Fault:
    """`operation` as the emulator hears it, say TransactWriteItems; `about` must occur in the body."""

    operation: str
    kind: Kind
    after: int = 0
    """So many calls go through before."""
    times: int = 1
    about: str = ""
    seconds: float = 0.0
    """How long a DELAY is."""


@dataclass
class FaultProxy:
    """A running proxy. `calls` counts what came by operation, `struck` what was done to it."""

    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    struck: Counter[tuple[str, Kind]] = field(default_factory=Counter)
    _script: list[Fault] = field(default_factory=list)
    _seen: Counter[Fault] = field(default_factory=Counter)
    _chance: "_Chance | None" = None

    def strike(self, *faults: Fault) -> None:
        """From now on."""
        self._script = [*self._script, *faults]
        self._seen.clear()

    def strike_at_random(self, seed: int, rates: Mapping[str, Mapping[Kind, float]]) -> None:
        """From now on: by operation, how likely each kind is."""
        self._chance = _Chance(Random(seed), rates)

    def relent(self) -> set[Kind]:
        """No more faults; the kinds that struck since the last time."""
        struck = {kind for _, kind in self.struck}
        self._script, self._chance = [], None
        self.struck.clear()
        return struck

    def fault_for(self, operation: str, body: bytes) -> Fault | None:
        """What befalls this call, if anything."""
        self.calls[operation] += 1
        for fault in self._script:
            if fault.operation != operation or fault.about.encode() not in body:
                continue
            self._seen[fault] += 1
            if fault.after < self._seen[fault] <= fault.after + fault.times:
                return self._strikes(fault)
        drawn = self._chance.draw(operation) if self._chance else None
        return self._strikes(drawn) if drawn else None

    def _strikes(self, fault: Fault) -> Fault:
        self.struck[fault.operation, fault.kind] += 1
        return fault


@dataclass
class _Chance:
    random: Random
    rates: Mapping[str, Mapping[Kind, float]]

    def draw(self, operation: str) -> Fault | None:
        at = self.random.random()
        for kind, rate in self.rates.get(operation, {}).items():
            if at < rate:
                return Fault(operation, kind, seconds=self.random.random())
            at -= rate
        return None


@contextmanager
def fault_proxy(target: str) -> Iterator[FaultProxy]:
    """A proxy before `target`, a URL, in a thread of its own."""
    proxy = FaultProxy()
    server = _Server(target, proxy)
    with background_loop("fault-proxy") as loop:
        try:
            proxy.url = _result(asyncio.run_coroutine_threadsafe(server.start(), loop))
            yield proxy
        finally:
            _result(asyncio.run_coroutine_threadsafe(server.stop(), loop))


def _result(done: Future[Any]) -> Any:
    return done.result(30)


class _Server:
    def __init__(self, target: str, proxy: FaultProxy) -> None:
        self._target = target
        self._proxy = proxy
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> str:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        app = web.Application(client_max_size=_MAX_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0)
        await site.start()
        assert self._runner.addresses
        return f"http://{HOST}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
        if self._http:
            await self._http.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        operation = operation_of(request.headers, body)
        fault = self._proxy.fault_for(operation, body)
        match fault and fault.kind:
            case None:
                return await self._forward(request, body)
            case Kind.BEFORE:
                return _broken(request)
            case Kind.LOST:
                await self._forward(request, body)
                return _broken(request)
            case Kind.DELAY:
                assert fault
                await asyncio.sleep(fault.seconds)
                return await self._forward(request, body)
            case kind:
                assert kind
                return refusal(request.headers, operation, kind, body)

    async def _forward(self, request: web.Request, body: bytes) -> web.StreamResponse:
        assert self._http
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        try:
            async with self._http.request(
                request.method,
                self._target + request.path_qs,
                data=body,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                passed = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
                return web.Response(status=answer.status, headers=passed, body=await answer.read())
        except aiohttp.ClientError:
            return _broken(request)


def operation_of(headers: Mapping[str, str], body: bytes) -> str:
    """The operation of a call in AWS's JSON or query protocol; a method for what is neither."""
    target = headers.get("X-Amz-Target", "")
    if target:
        return target.rpartition(".")[2]
    if body.startswith(b"Action="):
        return parse_qs(body.decode())["Action"][0]
    return "other"


def refusal(headers: Mapping[str, str], operation: str, kind: Kind, body: bytes) -> web.Response:
    """As AWS says no."""
    status, code = {
        Kind.THROTTLING: (400, "ThrottlingException"),
        Kind.EXCEEDED: (400, "ProvisionedThroughputExceededException"),
        Kind.ERROR: (500, "InternalServerError"),
        Kind.CONFLICT: (400, "TransactionConflictException"),
    }[kind]
    if not headers.get("X-Amz-Target"):
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message/></Error></ErrorResponse>"
        )
        return web.Response(status=status, text=text, content_type="text/xml")
    answer: dict[str, Any] = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": kind.value}
    if operation == "TransactWriteItems" and kind in {Kind.CONFLICT, Kind.EXCEEDED}:
        answer = cancelled(json.loads(body)["TransactItems"], kind)
    return web.Response(status=status, text=json.dumps(answer), content_type="application/x-amz-json-1.0")


def cancelled(items: Sequence[Any], kind: Kind) -> dict[str, Any]:
    """A transaction that was cancelled for the sake of one of its items."""
    reasons = [{"Code": "None"} for _ in items]
    code = "TransactionConflict" if kind is Kind.CONFLICT else "ProvisionedThroughputExceeded"
    reasons[len(reasons) // 2] = {"Code": code, "Message": kind.value}
    return {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "message": f"Transaction cancelled, please refer cancellation reasons for specific reasons [{code}]",
        "CancellationReasons": reasons,
    }


def _broken(request: web.Request) -> web.Response:
    """Ends the connection; what is returned goes nowhere."""
    if request.transport:
        request.transport.abort()
    return web.Response(status=500)
