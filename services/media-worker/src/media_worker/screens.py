"""Tells a customer's open screens how its media come along. Nothing waits for it or fails with it."""

from kinstream.catalog import Claim, Item, Role, State, WorkRepository
from kinstream.errors import RetryableError
from kinstream.live import LivePublisher


class Screens:
    """For one process. What cannot be told is not: the state is in the catalog."""

    def __init__(self, publisher: LivePublisher, catalog: WorkRepository) -> None:
        self._publisher = publisher
        self._catalog = catalog

    def progress(self, claim: Claim, _percent: int) -> None:
        """A step got on: tell how far its item is, in percent of all its steps."""
        if claim.role is Role.VARIANT:
            return
        try:
            item = self._catalog.get(claim.app, claim.media_id)
        except RetryableError:
            return
        if item is not None and item.state is State.PROCESSING:
            body = {"media_id": item.media_id, "progress": item.progress}
            self._publisher.publish(item.app, item.customer_id, "media.progress", body)

    def finished(self, item: Item) -> None:
        """The item is ready or has failed. Told twice where that is announced twice."""
        if item.state is State.READY:
            body = {"media_id": item.media_id, "kind": item.kind}
            self._publisher.publish(item.app, item.customer_id, "media.ready", body)
        else:
            body = {"media_id": item.media_id, "kind": item.kind, "reason": item.reason or ""}
            self._publisher.publish(item.app, item.customer_id, "media.failed", body)
