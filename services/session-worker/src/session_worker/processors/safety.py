"""Warns guardians when a child is at an unknown place."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, cast

import msgspec

from kinstream import keys
from kinstream.errors import PermanentError
from kinstream.events import LOCATION_UPDATED, Event, LocationData, format_time_ms
from kinstream.ledger_format import Bucket, Fact
from kinstream.resources import TOPIC_ALERTS
from session_worker.domain.safety import Alert, Fix, Run, Verdict, judge, reconcile, walk
from session_worker.effects import Announce, Effect, Put
from session_worker.processor import History, LedgerKey, Replayed, Timeline

KIND = "location.unknown"

_decode_location = msgspec.json.Decoder(LocationData).decode
_decode_run = msgspec.msgpack.Decoder(Run | None).decode
_decode_alerts = msgspec.msgpack.Decoder(list[Alert]).decode
_encode = msgspec.msgpack.encode


class Safety(Timeline):
    """Alerts are a function of the set of a person's fixes, whatever order they come in.

    Guarantee: each run of unknown fixes has exactly one alert, announced at least once under its id; one
    that later fixes disprove is marked withdrawn and announced as such, never removed in silence.
    """

    name = "safety"
    handles = frozenset({LOCATION_UPDATED})
    # Devices send fixes all day: short buckets keep the items small.
    bucket_seconds = 600
    example = {
        "id": "e-3",
        "type": "location.updated",
        "customer_id": "fam-42",
        "occurred_at": "2026-11-20T18:06:00.000Z",
        "data": {"person_id": "kid-1", "latitude": 52.52, "longitude": 13.405, "accuracy_m": 12},
    }

    def key(self, event: Event) -> LedgerKey:
        return LedgerKey((event.customer_id,), (_location(event).person_id,))

    def references(self, app: str, key: LedgerKey) -> str:
        (customer_id,) = key.partition
        return keys.place(app, customer_id, "")[0]

    def fact(self, event: Event, references: Sequence[Mapping[str, Any]]) -> Fact:
        """(verdict,) and, of an unknown fix, where: known places are no business of the ledger."""
        location = _location(event)
        verdict = judge(location, references)
        if verdict is Verdict.UNKNOWN:
            return int(verdict), location.latitude, location.longitude
        return (int(verdict),)

    def replay(self, app: str, key: LedgerKey, history: History, now_ms: int) -> Replayed:
        known = _decode_alerts(history.head) if history.head else []
        run = _decode_run(history.carry) if history.carry else None
        start_ms = history.buckets[0].start_ms
        carried = [a for a in known if run and a.raised_ms == run.raised_ms]
        before = carried + [a for a in known if a.raised_ms >= start_ms]
        untouched = [a for a in known if a not in before]
        alerts, states = [_unresolved(alert) for alert in carried], []
        for bucket in history.buckets:
            walked = walk(run, _fixes(bucket))
            if walked.resolved_ms is not None:
                alerts[-1] = msgspec.structs.replace(alerts[-1], resolved_ms=walked.resolved_ms)
            alerts += walked.raised
            run = walked.carry
            states.append(_encode(run))
        settled = reconcile(before, alerts)
        named = [_named(app, key, alert) for alert in settled.alerts]
        effects = [
            *(e for a in named if a not in before for e in _changed(app, key, a)),
            *(e for a in settled.withdrawn for e in _changed(app, key, a, withdrawn_at_ms=now_ms)),
        ]
        return Replayed(states, _encode(untouched + named), effects)


def _location(event: Event) -> LocationData:
    try:
        return _decode_location(event.data)
    except msgspec.MsgspecError as error:
        raise PermanentError(f"data of {event.type}: {error}") from error


def _fixes(bucket: Bucket) -> Iterator[Fix]:
    for time_ms, (verdict, *degrees) in bucket.timeline():
        yield Fix(time_ms, Verdict(cast(int, verdict)), *cast(list[float], degrees))


def _unresolved(alert: Alert) -> Alert:
    return msgspec.structs.replace(alert, resolved_ms=None)


def _named(app: str, key: LedgerKey, alert: Alert) -> Alert:
    if alert.alert_id:
        return alert
    identity = "\0".join((app, *key.partition, *key.series, str(alert.raised_ms)))
    digest = blake2b(identity.encode(), digest_size=10).hexdigest()
    return msgspec.structs.replace(alert, alert_id=f"{alert.raised_ms:013d}-{digest}")


def _changed(app: str, key: LedgerKey, alert: Alert, withdrawn_at_ms: int | None = None) -> Iterator[Effect]:
    """The record as it now is, and word of it to whoever listens."""
    (customer_id,), (person_id,) = key
    status = "withdrawn" if withdrawn_at_ms else "resolved" if alert.resolved_ms else "raised"
    values = {
        "alert_id": alert.alert_id,
        "kind": KIND,
        "person_id": person_id,
        "raised_at_ms": alert.raised_ms,
        "resolved_at_ms": alert.resolved_ms,
        "withdrawn_at_ms": withdrawn_at_ms,
        "latitude": alert.latitude,
        "longitude": alert.longitude,
    }
    yield Put(keys.alert(app, customer_id, alert.alert_id), values)
    yield Announce(
        TOPIC_ALERTS,
        app,
        f"{alert.alert_id}-{status}",
        {
            "app": app,
            "customer_id": customer_id,
            "alert_id": alert.alert_id,
            "kind": KIND,
            "status": status,
            "person_id": person_id,
            "raised_at": format_time_ms(alert.raised_ms),
            "resolved_at": format_time_ms(alert.resolved_ms) if alert.resolved_ms else None,
            "latitude": alert.latitude,
            "longitude": alert.longitude,
        },
    )
