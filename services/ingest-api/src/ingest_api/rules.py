"""An app's rules, ready for use: what is done to its events beside what is done to all. Pure."""

from collections.abc import Mapping

from ingest_api.judgement import BadEvent, judge
from ingest_api.privacy import Scrubber
from ingest_api.schemas import EventSchema
from kinstream.app_rules import AppRules, Privacy
from kinstream.events import ClientEvent


class Rules:
    """The rules of one app. The same event always fares the same, also when it has been through before."""

    def __init__(self, stored: AppRules, schemas: Mapping[str, EventSchema]) -> None:
        self.stored = stored
        self.schemas = schemas
        """By event type."""
        self._scrubber = Scrubber(stored.privacy) if stored.privacy != Privacy() else None

    @property
    def concern_events(self) -> bool:
        """Whether events have to be looked at one by one; an app that has a rate alone needs none of that."""
        return self._scrubber is not None or bool(self.schemas)

    @property
    def events_per_second(self) -> int | None:
        """The app's own limit, where it has one."""
        return self.stored.events_per_second

    def apply(self, event: ClientEvent, raw: bytes) -> bytes:
        """What is kept of an event that `judge` took, as JSON: `raw` itself where nothing is taken out.

        BadEvent where the app's schema for its type refuses it, or where its type needs a field that the
        privacy switches drop. A schema sees what is kept.
        """
        kept = self._scrubber.scrub(raw) if self._scrubber else raw
        if kept is not raw:
            try:
                event = judge(kept)
            except BadEvent as bad:
                detail = f"{bad.detail} (the app's privacy switches drop fields)"
                raise BadEvent(bad.code, detail) from bad
        schema = self.schemas.get(event.type)
        if schema is not None:
            schema.check(event)
        return kept

    def scrub(self, raw: bytes) -> bytes | None:
        """What the quarantine may keep of `raw`, whatever it is; None where that is nothing."""
        return self._scrubber.scrub_any(raw) if self._scrubber else raw
