"""Kombu's SQS transport, made to survive what SQS answers to a message that is no longer ours."""

import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kombu.transport import SQS, TRANSPORT_ALIASES

log = logging.getLogger(__name__)

SCHEME = "sqs"


class SafeChannel(SQS.Channel):
    """A channel on which giving a message back cannot end the worker.

    By the time a message is given back its receipt may have run out. The queue gives the message to
    somebody again by itself, so the refusal is worth a line in the log and no more.
    """

    def _restore(self, message: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._restore(message, *args, **kwargs)  # type: ignore[no-untyped-call]
        except (ClientError, BotoCoreError, OSError) as error:
            log.warning("message not given back", extra={"error": type(error).__name__})
            return None


class SafeTransport(SQS.Transport):
    """Kombu's transport with the safe channel."""

    Channel = SafeChannel


def install() -> None:
    """Make `sqs://` mean this transport, in this process."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:{SafeTransport.__name__}"
