"""What a service cannot work without: waited for at its start, for a bounded time and in words.

Absent and forbidden resources are waited for as well: they may be made, or allowed, meanwhile. Once it has
started a service survives that what it needs is away, and none of this is asked again.
"""

import asyncio
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from inspect import isawaitable
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.dynamo import to_key
from kinstream.errors import PermanentError, RetryableError

log = logging.getLogger(__name__)

AWAY = (RetryableError, BotoCoreError, ClientError, OSError)
"""What a check raises of something that is not there yet."""
CATALOG = "catalog"
"""What the catalog is called among what a service needs."""

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0

_ABSENT = ("NotFound", "NonExistent", "NoSuch", "(404)")
_FORBIDDEN = ("AccessDenied", "AuthorizationError", "(403)", "UnrecognizedClient", "InvalidClientTokenId")
_OF_THE_CATALOG = "see KINSTREAM_CATALOG_URL; `kinstream setup` makes the tables, on AWS the task migrate"
_OF_ABSENT = (
    "on AWS apply Terraform to the end, for an emulator run `kinstream setup`; see KINSTREAM_NAME_PREFIX"
)
_OF_FORBIDDEN = "apply Terraform: the service's role has to allow it"
_OF_AWAY = (
    "see KINSTREAM_AWS_ENDPOINT_URL, which is set for an emulator alone, KINSTREAM_AWS_REGION and the network"
)

Check = Callable[[], Awaitable[Any] | Any]
"""Asks once, as a coroutine or not. Raises one of `AWAY` where there is no answer."""
Read = Literal["get_item", "batch_get_item", "query"]


class NotStartedError(PermanentError):
    """What a service needs did not come in time. The text names it, and says what to do."""


@contextmanager
def saying_why(service: str) -> Iterator[None]:
    """End the process with status 1 and one line of the log where the service cannot start."""
    try:
        yield
    except NotStartedError as error:
        log.error("%s cannot start: %s", service, error)  # noqa: TRY400 - the sentence says it all
        sys.exit(1)


async def wait_for(
    needs: Mapping[str, Check],
    seconds: float,
    *,
    advice: str | None = None,
    say: Callable[[str], object] = log.warning,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> dict[str, Any]:
    """What each of `needs` answered, by its name, once all have.

    Those that do not answer are asked again, less and less often, until `seconds` have passed; the last call
    has its own timeout still. Then NotStartedError, with `advice`, or what their errors suggest. Blocking
    checks are for programs that do nothing else meanwhile: `asyncio.run(wait_for(...))`.
    """
    found: dict[str, Any] = {}
    deadline, pause = clock() + seconds, _FIRST_PAUSE_SECONDS
    is_told = False
    while True:
        asked = [name for name in needs if name not in found]
        outcomes = await asyncio.gather(*(_outcome(needs[name]) for name in asked))
        absent: dict[str, Exception] = {}
        for name, (answer, error) in zip(asked, outcomes, strict=True):
            if error is None:
                found[name] = answer
            else:
                absent[name] = error
        if not absent:
            return found
        left_seconds = deadline - clock()
        if left_seconds <= 0:
            raise NotStartedError(_sentence(absent, seconds, advice))
        if not is_told:
            say(f"waiting for {_listed(absent)}: {reason_of(next(iter(absent.values())))}")
            is_told = True
        await sleep(min(pause, left_seconds))
        pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)


async def absent(needs: Mapping[str, Check]) -> dict[str, Exception]:
    """Those that do not answer now, asked once, with their errors."""
    outcomes = await asyncio.gather(*map(_outcome, needs.values()))
    return {name: error for name, (_, error) in zip(needs, outcomes, strict=True) if error}


def queues(sqs: Any, names: Iterable[str]) -> dict[str, Check]:
    """Queues by their full names; each answers with its URL."""

    async def url(name: str) -> str:
        answer = sqs.get_queue_url(QueueName=name)
        return str((await answer if isawaitable(answer) else answer)["QueueUrl"])

    return {f"queue {name}": partial(url, name) for name in names}


def buckets(s3: Any, names: Iterable[str]) -> dict[str, Check]:
    """Buckets by their full names. Needs permission to list."""
    return {f"bucket {name}": partial(s3.head_bucket, Bucket=name) for name in names}


def tables(dynamodb: Any, names: Iterable[str], read: Read = "get_item") -> dict[str, Check]:
    """Tables by their full names, looked into by the call that the service's role allows."""
    return {f"table {name}": partial(getattr(dynamodb, read), **_nothing_in(name, read)) for name in names}


def reason_of(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _nothing_in(table: str, read: Read) -> dict[str, Any]:
    """A request that finds nothing: keys begin with an app."""
    match read:
        case "get_item":
            return {"TableName": table, "Key": to_key(("-", "-"))}
        case "batch_get_item":
            return {"RequestItems": {table: {"Keys": [to_key(("-", "-"))]}}}
        case "query":
            return {
                "TableName": table,
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": {":pk": {"S": "-"}},
                "Limit": 1,
            }


async def _outcome(check: Check) -> tuple[Any, Exception | None]:
    try:
        answer = check()
        return (await answer if isawaitable(answer) else answer), None
    except AWAY as error:
        return None, error


def _sentence(absent: Mapping[str, Exception], seconds: float, advice: str | None) -> str:
    """Together what the same is to be done about."""
    together: dict[str, list[str]] = defaultdict(list)
    for name, error in absent.items():
        together[advice or _advice(name, error)].append(name)
    return ". ".join(
        f"{_listed(names)} {'has' if len(names) == 1 else 'have'} not answered for {seconds:g} s: "
        f"{reason_of(absent[names[0]])}; {what_to_do}"
        for what_to_do, names in together.items()
    )


def _advice(name: str, error: Exception) -> str:
    if name == CATALOG:
        return _OF_THE_CATALOG
    reason = reason_of(error)
    if any(word in reason for word in _ABSENT):
        return _OF_ABSENT
    return _OF_FORBIDDEN if any(word in reason for word in _FORBIDDEN) else _OF_AWAY


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
