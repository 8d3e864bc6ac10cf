"""Warns guardians when a child is at an unknown place."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, cast

import msgspec

from kinstream import keys
from kinstream.errors import PermanentError
from kinstream.events import LOCATION_UPDATED, Event, LocationData, format_time_ms
from kinstream.ledger_format import Bucket, Fact
from kinstream.resources import TOPIC_ALERTS
from session_worker.domain.safety import RAISED, Alert, Fix, Run, Verdict, judge, reconcile, walk
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
            # To a tenth of a millimetre: DynamoDB's numbers do not go as near to zero as floats do.
            return int(verdict), round(location.latitude, 9), round(location.longitude, 9)
        return (int(verdict),)

    def replay(self, app: str, key: LedgerKey, history: History, now_ms: int) -> Replayed:
        known = _decode_alerts(history.head) if history.head else []
        run = _decode_run(history.carry) if history.carry else None
        start_ms = history.buckets[0].start_ms
        earlier = sorted((a for a in known if a.raised_ms < start_ms), key=lambda a: a.raised_ms)
        carried = earlier[-1:] if run == RAISED else []
        before = carried + [a for a in known if a.raised_ms >= start_ms]
        untouched = [a for a in known if a not in before and not _settled(a, history.settled_before_ms)]
        alerts, states = [_unresolved(alert) for alert in carried], []
        for bucket in history.buckets:
            walked = walk(run, _fixes(bucket))
            if walked.resolved_ms is not None:
                alerts[-1] = msgspec.structs.replace(alerts[-1], resolved_ms=walked.resolved_ms)
            alerts += walked.raised
            run = walked.carry
            states.append(_encode(run))
        settled = reconcile(before, alerts)
        named = _named(app, key, settled.alerts, {alert.alert_id for alert in known})
        effects = [
            *(e for a in named if a not in before for e in _changed(app, key, a, history.commits)),
            *(e for a in settled.withdrawn for e in _changed(app, key, a, history.commits, now_ms)),
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


def _settled(alert: Alert, settled_before_ms: int) -> bool:
    return alert.resolved_ms is not None and alert.resolved_ms < settled_before_ms


def _named(app: str, key: LedgerKey, alerts: Sequence[Alert], taken: set[str]) -> list[Alert]:
    """The alerts with an id each: one that an alert of this person has already is not given again."""
    named = []
    for alert in alerts:
        if not alert.alert_id:
            ids = (_alert_id(app, key, alert, number) for number in itertools.count())
            alert = msgspec.structs.replace(alert, alert_id=next(i for i in ids if i not in taken))  # noqa: PLW2901
            taken.add(alert.alert_id)
        named.append(alert)
    return named


def _alert_id(app: str, key: LedgerKey, alert: Alert, number: int) -> str:
    identity = "\0".join((app, *key.partition, *key.series, str(alert.raised_ms), str(number)))
    return f"{alert.raised_ms:013d}-{blake2b(identity.encode(), digest_size=10).hexdigest()}"


def _changed(
    app: str, key: LedgerKey, alert: Alert, commits: int, withdrawn_ms: int | None = None
) -> Iterator[Effect]:
    """The record as it now is, and word of it to whoever listens, under an id of this change alone.

    The id holds no time: clocks stand still and differ, and an alert may change and change back meanwhile.
    """
    (customer_id,), (person_id,) = key
    status = "withdrawn" if withdrawn_ms else "resolved" if alert.resolved_ms else "raised"
    values = {
        "alert_id": alert.alert_id,
        "kind": KIND,
        "person_id": person_id,
        "raised_at_ms": alert.raised_ms,
        "resolved_at_ms": alert.resolved_ms,
        "withdrawn_at_ms": withdrawn_ms,
        "latitude": alert.latitude,
        "longitude": alert.longitude,
    }
    yield Put(keys.alert(app, customer_id, alert.alert_id), values)
    body = {
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
    }
    yield Announce(TOPIC_ALERTS, app, f"{alert.alert_id}-{commits}-{status}", body)
