"""Telling a customer's open screens what happens, through Redis' pub/sub, while it happens.

Guarantee: none. What is told while nobody listens, or while Redis is away, is gone, and that is all right:
the state is in the tables and the catalog, and whoever missed something reads it there.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from kinstream.ledger_format import join_key
from kinstream.settings import CoreSettings

log = logging.getLogger(__name__)

Kind = Literal["media.progress", "media.ready", "media.failed"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_PAUSE_SECONDS = 5.0
"""For so long nothing is tried after a failure: a step's progress must not wait for Redis again and again."""


class Told(NamedTuple):
    """Something that happened to a customer's things."""

    kind: Kind
    body: dict[str, Any]


def channel(name_prefix: str, app: str, customer_id: str) -> str:
    """The channel on which a customer's screens listen."""
    return f"{name_prefix}:live:{join_key(app, customer_id)}"


def encode(told: Told) -> bytes:
    """As it travels."""
    return msgspec.json.encode(told)


def decode(payload: bytes) -> Told:
    """What `encode` made; msgspec.MsgspecError for anything else."""
    return msgspec.json.decode(payload, type=Told)


class LivePublisher:
    """Tells, from code that blocks. Never raises, and takes at most two of Redis' timeouts, which is rare."""

    def __init__(self, client: Any, name_prefix: str) -> None:
        self._client = client
        self._name_prefix = name_prefix
        self._pause_until = 0.0
        self.dropped = 0
        """What was not told since Redis went away."""

    def publish(self, app: str, customer_id: str, kind: Kind, body: Mapping[str, Any]) -> bool:
        """Whether Redis took it. `body` is plain JSON that the customer's own people may see."""
        now = time.monotonic()
        if now < self._pause_until:
            self.dropped += 1
            return False
        try:
            self._client.publish(channel(self._name_prefix, app, customer_id), encode(Told(kind, dict(body))))
        except (RedisError, OSError) as error:
            self._note_away(error)
            return False
        self._note_back()
        return True

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _note_away(self, error: Exception) -> None:
        self._pause_until = time.monotonic() + _PAUSE_SECONDS
        self.dropped += 1
        if self.dropped == 1:
            problem = {"error": type(error).__name__}
            log.warning("Redis does not answer: open screens are told nothing", extra=problem)

    def _note_back(self) -> None:
        if self.dropped:
            log.warning("Redis is back: open screens are told again", extra={"dropped": self.dropped})
            self.dropped = 0


def open_publisher(settings: CoreSettings) -> LivePublisher:
    """The publisher of a process. Connects on first use, not now; a forked child may use it."""
    client = redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=settings.redis_timeout_seconds,
        socket_connect_timeout=settings.redis_timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )
    return LivePublisher(client, settings.name_prefix)
