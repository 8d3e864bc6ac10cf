"""Coroutines that go on only when told: every call to AWS waits at a gate until somebody decides its fate.

No real time and no threads: sleeps end at once on a clock of the loop's own, and what is ready runs in the
order in which it became ready. So the same decisions give the same run.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

from botocore.exceptions import ClientError, EndpointConnectionError


class Fate(Enum):
    """What becomes of a call."""

    DONE = auto()
    STALE = auto()
    """Done, but an eventually consistent read gives what was there before the last write."""
    PARTIAL = auto()
    """Done for the first half of what it asks for, where a call can be done in part."""
    AWAY = auto()
    """Never arrives; the caller hears of no connection."""
    LOST = auto()
    """Done, but the caller hears of no connection."""
    LATE = auto()
    """As LOST, but it is done later, when the caller may have gone on long since."""
    THROTTLED = auto()
    CONFLICT = auto()
    """Refused because another transaction touches the same items."""


class Service(Protocol):
    """One service of AWS in memory."""

    def handle(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Do it. ClientError as botocore would raise it."""

    def handle_stale(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """As an eventually consistent read may be answered."""

    def handle_part(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Do half of it and say so."""


@dataclass(eq=False)
class Call:
    """A call that waits at the gate."""

    caller: object
    service: Service
    action: str
    request: dict[str, Any]
    answer: asyncio.Future[Any]

    def __repr__(self) -> str:
        return f"{self.action} of {self.caller}"


class Clock(asyncio.SelectorEventLoop):
    """An event loop on which time passes when there is nothing else to do."""

    def __init__(self) -> None:
        self._now_seconds = 0.0
        super().__init__()

    def time(self) -> float:
        return self._now_seconds

    def settle(self) -> None:
        """Until every task has ended or waits for something that is no time."""
        while self._ready or self._scheduled:
            if not self._ready:
                self._now_seconds = max(self._now_seconds, self._scheduled[0].when())
            self.call_soon(self.stop)
            self.run_forever()


@dataclass
class Gate:
    """Where calls wait, and the tasks that make them. With `open` set calls go through at once."""

    loop: Clock = field(default_factory=Clock)
    calls: list[Call] = field(default_factory=list)
    open: bool = True
    _late: list[tuple[Service, str, dict[str, Any]]] = field(default_factory=list)
    _tasks: dict[asyncio.Task[Any], object] = field(default_factory=dict)

    def client(self, caller: object, service: Service) -> "Client":
        """A client through which the caller calls the service."""
        return Client(self, caller, service)

    def start(self, caller: object, work: Coroutine[Any, Any, Any]) -> None:
        """Run until it waits at the gate."""
        self._tasks[self.loop.create_task(work)] = caller
        self._go_on()

    def complete(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run to the end, with the gate open."""
        return self.loop.run_until_complete(work)

    def tasks(self, caller: object) -> int:
        """How many tasks of a caller are under way."""
        return sum(owner is caller for owner in self._tasks.values())

    def decide(self, call: Call, fate: Fate) -> None:
        """Let a call go on."""
        self.calls.remove(call)
        try:
            call.answer.set_result(self._do(call, fate))
        except (ClientError, EndpointConnectionError) as error:
            call.answer.set_exception(error)
        self._go_on()

    def let_it_be_done(self, call: Call) -> None:
        """Do what a call asks for; its caller waits on."""
        self.calls.remove(call)
        with suppress(ClientError):
            call.service.handle(call.action, call.request)

    def kill(self, caller: object) -> None:
        """As kill -9: what it has sent and what has not been answered, is all that remains of it."""
        self.calls = [call for call in self.calls if call.caller is not caller]
        for task in [task for task, owner in self._tasks.items() if owner is caller]:
            del self._tasks[task]
            task.cancel()
        self.loop.settle()
        assert not [call for call in self.calls if call.caller is caller]

    def let_late_ones_arrive(self, most: int | None = None) -> None:
        """Do what was under way for long."""
        arriving, self._late = self._late[:most], self._late[len(self._late[:most]) :]
        for service, action, request in arriving:
            with suppress(ClientError):  # nobody is there to hear of it
                service.handle(action, request)

    def close(self) -> None:
        """End everything."""
        for caller in list(self._tasks.values()):
            self.kill(caller)
        self.loop.close()

    def _do(self, call: Call, fate: Fate) -> Any:
        service, action, request = call.service, call.action, call.request
        match fate:
            case Fate.DONE:
                return service.handle(action, request)
            case Fate.STALE:
                return service.handle_stale(action, request)
            case Fate.PARTIAL:
                return service.handle_part(action, request)
            case Fate.THROTTLED | Fate.CONFLICT:
                raise _refusal(action, request, fate)
            case Fate.LOST:
                service.handle(action, request)
            case Fate.LATE:
                self._late.append((service, action, request))
        raise EndpointConnectionError(endpoint_url="memory", error=fate.name)

    def _go_on(self) -> None:
        self.loop.settle()
        for task in [task for task in self._tasks if task.done()]:
            del self._tasks[task]
            task.result()


class Client:
    """Stands in for an aiobotocore client."""

    def __init__(self, gate: Gate, caller: object, service: Service) -> None:
        self._gate = gate
        self._caller = caller
        self._service = service

    def __getattr__(self, operation: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        action = "".join(word.title() for word in operation.split("_"))

        async def call(**request: Any) -> Any:
            if self._gate.open:
                return self._service.handle(action, request)
            answer = self._gate.loop.create_future()
            self._gate.calls.append(Call(self._caller, self._service, action, request, answer))
            return await answer

        return call


def _refusal(action: str, request: Mapping[str, Any], fate: Fate) -> ClientError:
    throttled = fate is Fate.THROTTLED
    if action != "TransactWriteItems":
        code = "ThrottlingException" if throttled else "TransactionConflictException"
        return ClientError({"Error": {"Code": code, "Message": ""}}, action)
    reasons = [{"Code": "None"} for _ in request["TransactItems"]]
    reasons[len(reasons) // 2] = {"Code": "ThrottlingError" if throttled else "TransactionConflict"}
    answer: Any = {"Error": {"Code": "TransactionCanceledException", "Message": ""}}
    return ClientError(answer | {"CancellationReasons": reasons}, action)
