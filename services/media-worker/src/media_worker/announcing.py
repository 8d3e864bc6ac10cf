"""Says outward that an item is ready or has failed, on the topic `media`.

Guarantee: at least once, under an id that stays the same, by which receivers drop repetitions. What could
not be sent, or not be recorded as sent, is sent by a later sweep.
"""

import json
import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.catalog import Item, State, WorkRepository
from kinstream.errors import RetryableError
from kinstream.events import format_time_ms
from kinstream.live import LivePublisher

log = logging.getLogger(__name__)

READY, FAILED = "media.ready", "media.failed"


def announcement(item: Item) -> dict[str, Any]:
    """What is said of an item that is finished. No URL: whoever wants one asks the API, with a key."""
    assert item.finished_at_ms is not None
    return {
        "id": f"{item.media_id}-{item.finished_at_ms}",
        "type": READY if item.state == State.READY else FAILED,
        "occurred_at": format_time_ms(item.finished_at_ms),
        "app": item.app,
        "customer_id": item.customer_id,
        "media_id": item.media_id,
        "kind": item.kind,
        "reason": item.reason,
        "renditions": [made.name for made in item.renditions],
    }


class Announcer:
    """Sends announcements, and tells whoever watches. For one thread of one process."""

    def __init__(self, sns: Any, topic_arn: str, catalog: WorkRepository, live: LivePublisher) -> None:
        self._live = live
        self._sns = sns
        self._topic_arn = topic_arn
        self._catalog = catalog

    def announce(self, item: Item) -> bool:
        """Send and record it; False where it is left for the next sweep."""
        body = announcement(item)
        told = {"media_id": item.media_id, "kind": item.kind}
        if item.state == State.FAILED:
            told["reason"] = item.reason or ""
        self._live.publish(item.app, item.customer_id, body["type"], told)
        attributes = {"announcement_id": body["id"], "app": item.app, "type": body["type"]}
        try:
            self._sns.publish(
                TopicArn=self._topic_arn,
                Message=json.dumps(body),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )
            self._catalog.mark_announced(item)
        except (BotoCoreError, ClientError, OSError, RetryableError) as error:
            log.warning(
                "announcement left for the next sweep",
                extra={"media_id": item.media_id, "error": type(error).__name__},
            )
            return False
        return True

    def sweep(self, before_ms: int) -> None:
        """Send what became finished before then and is not recorded as sent, until one does not arrive."""
        for item in self._catalog.unannounced(before_ms):
            if not self.announce(item):
                return
