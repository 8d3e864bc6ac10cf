"""Kombu's SQS transport, made to survive the answers that would end its worker.

kombu lets a refused ChangeMessageVisibility, an unreachable SQS and an answer other than 200 to a poll
end the worker with "Unrecoverable error". Each passes: the message comes again by itself, and the next
poll asks anew.
"""

import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.transport import SQS, TRANSPORT_ALIASES

log = logging.getLogger(__name__)

SCHEME = "sqs"


class SafeConnection(AsyncSQSConnection):
    """A connection to which a failed poll is a poll that found nothing."""

    def _on_list_ready(self, *args: Any) -> Any:
        try:
            found = super()._on_list_ready(*args)  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 -- kombu raises bare Exception for an HTTP status
            log.warning("poll refused", extra={"error": str(error)[:200]})
            return {}
        # kombu answers an empty list where SQS cannot be reached, and then expects a mapping.
        return found or {}


class SafeChannel(SQS.Channel):
    """A channel on which neither giving back nor polling can end the worker."""

    def asynsqs(self, queue: str | None = None) -> Any:
        """The connection for polls of a queue, one a queue."""
        clients = self._predefined_queue_async_clients
        if queue not in clients:
            wanted = self.get_message_attributes
            clients[queue] = SafeConnection(  # type: ignore[no-untyped-call]
                sqs_connection=self.sqs(queue=queue),  # type: ignore[no-untyped-call]
                region=self.region,
                message_system_attribute_names=wanted["MessageSystemAttributeNames"],
                message_attribute_names=wanted["MessageAttributeNames"],
            )
        return clients[queue]

    def _restore(self, message: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._restore(message, *args, **kwargs)  # type: ignore[no-untyped-call]
        except (ClientError, BotoCoreError, OSError) as error:
            log.warning("message not given back", extra={"error": type(error).__name__})
            return None


class SafeTransport(SQS.Transport):
    """Kombu's transport with the safe channel; unlike kombu's, once closed it leaves nothing open to SQS."""

    Channel = SafeChannel

    def close_connection(self, connection: Any) -> None:
        """Close the channels and the clients that they sent with."""
        super().close_connection(connection)  # type: ignore[no-untyped-call]
        for client in self._predefined_queue_clients.values():
            client.close()


def install() -> None:
    """Make `sqs://` mean this transport, in this process."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:{SafeTransport.__name__}"
