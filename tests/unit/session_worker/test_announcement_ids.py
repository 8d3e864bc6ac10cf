"""What is announced of an alert has an id of its own, also when clocks stand still or differ."""

from kinstream.events import LOCATION_UPDATED
from kinstream.ledger_format import Bucket, entry_of
from session_worker.effects import Announce
from session_worker.processor import History
from session_worker.processors.safety import Safety
from tests.support.engine import APP, event

NOW_MS = 1_795_284_000_000


def replayed(verdicts: dict[int, int], head: bytes = b"", commits: int = 0):
    bucket = Bucket(NOW_MS)
    for second, verdict in verdicts.items():
        fact = (verdict, 52.53, 13.4) if verdict == 1 else (verdict,)
        bucket.add(entry_of(f"fix-{second}", 1000 * second, b"key"), fact)
    data = {"person_id": "kid", "latitude": 52.53, "longitude": 13.4, "accuracy_m": 10}
    key = Safety().key(event(type=LOCATION_UPDATED, data=data))
    return Safety().replay(APP, key, History(head, b"", [bucket], commits, 0), NOW_MS)


def one_after_the_other(*verdicts: dict[int, int]) -> list[Announce]:
    told, head, seen = list[Announce](), b"", dict[int, int]()
    for commits, more in enumerate(verdicts):
        seen |= more
        result = replayed(seen, head, commits)
        told += (effect for effect in result.effects if isinstance(effect, Announce))
        head = result.head
    return told


def test_two_changes_of_an_alert_in_one_millisecond_are_two_announcements():
    told = one_after_the_other({0: 1, 1: 1, 2: 1, 50: 0}, {40: 0})
    assert [announce.body["resolved_at"][-7:] for announce in told] == ["50.000Z", "40.000Z"]
    assert len({announce.announcement_id for announce in told}) == 2


def test_alert_that_changes_and_changes_back_in_one_millisecond_is_told_three_times():
    told = one_after_the_other({10: 1, 20: 1, 30: 1}, {0: 1}, {5: 0})
    assert [announce.body["raised_at"][-7:] for announce in told] == ["30.000Z", "20.000Z", "30.000Z"]
    assert told[0].body == told[2].body
    assert len({announce.announcement_id for announce in told}) == 3


def test_the_same_change_tried_again_keeps_its_announcement():
    again = [replayed({0: 1, 1: 1, 2: 1}).effects for _ in range(2)]
    assert again[0] == again[1]
