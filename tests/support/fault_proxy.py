"""An HTTP proxy before the emulator that does to chosen calls what networks and busy tables do to them.

A `Fault` names an operation, how many of its calls are let through first, and what befalls the next ones;
faults can also come by chance, by a seed. The emulator raises no TransactionConflict of its own. `die_after`
cuts everything off after so many calls: what a killed client looks like from outside.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any, Protocol
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


class OwnService(Protocol):
    """A service that the proxy answers for itself, because the emulator has it not."""

    def operation(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """The operation of a call, None where it is not for this service."""

    async def answer(self, operation: str, request: web.Request, body: bytes) -> web.Response:
        """Do it."""


@dataclass
class FaultProxy:
    """A running proxy. `calls` counts what came by operation, `struck` what was done to it."""

    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    struck: Counter[tuple[str, Kind]] = field(default_factory=Counter)
    under_way: int = 0
    """Calls that have come and are not done."""
    _script: list[Fault] = field(default_factory=list)
    _seen: Counter[Fault] = field(default_factory=Counter)
    _chance: "_Chance | None" = None
    _left: int | None = None
    _died: threading.Event = field(default_factory=threading.Event)

    def strike(self, *faults: Fault) -> None:
        """From now on."""
        self._script = [*self._script, *faults]
        self._seen.clear()

    def strike_at_random(self, seed: int, rates: Mapping[str, Mapping[Kind, float]]) -> None:
        """From now on: by operation, how likely each kind is."""
        self._chance = _Chance(Random(seed), rates)

    def die_after(self, calls: int) -> None:
        """So many calls go through from now on, and none after them, until `live`."""
        self._died.clear()
        self._left = calls

    def live(self) -> None:
        """Everything goes through again."""
        self._left = None

    def has_died(self, within_seconds: float) -> bool:
        """Whether a call was cut off; waits a little for that."""
        return self._died.wait(within_seconds)

    def relent(self) -> set[Kind]:
        """No more faults; the kinds that struck since the last time."""
        struck = {kind for _, kind in self.struck}
        self._script, self._chance = [], None
        self.struck.clear()
        return struck

    def fault_for(self, operation: str, body: bytes) -> Fault | None:
        """What befalls this call, if anything."""
        self.calls[operation] += 1
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._died.set()
                return Fault(operation, Kind.BEFORE)
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
def fault_proxy(target: str, own: OwnService | None = None) -> Iterator[FaultProxy]:
    """A proxy before `target`, a URL, in a thread of its own."""
    proxy = FaultProxy()
    server = _Server(target, proxy, own)
    with background_loop("fault-proxy") as loop:
        try:
            proxy.url = _result(asyncio.run_coroutine_threadsafe(server.start(), loop))
            yield proxy
        finally:
            _result(asyncio.run_coroutine_threadsafe(server.stop(), loop))


def _result(done: Future[Any]) -> Any:
    return done.result(30)


class _Server:
    def __init__(self, target: str, proxy: FaultProxy, own: OwnService | None) -> None:
        self._target = target
        self._proxy = proxy
        self._own = own
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
        self._proxy.under_way += 1
        try:
            return await self._served(request)
        finally:
            self._proxy.under_way -= 1

    async def _served(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        own = self._own.operation(request.method, request.path, request.headers) if self._own else None
        operation = own or operation_of(request.headers, body)
        fault = self._proxy.fault_for(operation, body)
        match fault and fault.kind:
            case None:
                return await self._do(own, request, body)
            case Kind.BEFORE:
                return _broken(request)
            case Kind.LOST:
                await self._do(own, request, body)
                return _broken(request)
            case Kind.DELAY:
                assert fault
                await asyncio.sleep(fault.seconds)
                return await self._do(own, request, body)
            case kind:
                assert kind
                return refusal(request.headers, operation, kind, body, is_json=bool(own))

    async def _do(self, own: str | None, request: web.Request, body: bytes) -> web.StreamResponse:
        if own and self._own:
            return await self._own.answer(own, request, body)
        return await self._forward(request, body)

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


def refusal(
    headers: Mapping[str, str], operation: str, kind: Kind, body: bytes, *, is_json: bool = False
) -> web.Response:
    """As AWS says no, in the call's own protocol; `is_json` for one whose calls do not show it."""
    status, code = {
        Kind.THROTTLING: (400, "ThrottlingException"),
        Kind.EXCEEDED: (400, "ProvisionedThroughputExceededException"),
        Kind.ERROR: (500, "InternalServerError"),
        Kind.CONFLICT: (400, "TransactionConflictException"),
    }[kind]
    if not is_json and not headers.get("X-Amz-Target"):
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
