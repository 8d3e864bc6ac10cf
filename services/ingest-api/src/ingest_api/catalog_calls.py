"""Calls to the catalog, which block (docs/decisions/0004): from threads, and from the event loop."""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

from ingest_api.errors import unavailable
from kinstream.errors import RetryableError

P = ParamSpec("P")
Answer = TypeVar("Answer")


def available(call: Callable[P, Answer], *arguments: P.args, **options: P.kwargs) -> Answer:
    """What `call` answers; ApiError 503 where the catalog cannot be reached now."""
    try:
        return call(*arguments, **options)
    except RetryableError as error:
        raise unavailable("the catalog of media cannot be reached now") from error


async def from_catalog(call: Callable[P, Answer], *arguments: P.args, **options: P.kwargs) -> Answer:
    """The same from the event loop."""
    return await run_in_threadpool(partial(available, call, *arguments, **options))
