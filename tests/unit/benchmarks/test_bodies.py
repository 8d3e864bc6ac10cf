"""Bodies of the loads: good native events, each with the id that it should have."""

import json

from benchmarks.bodies import BODIES, ID_PLACE, filled, write_bodies
from ingest_api.admission import admit
from kinstream.clock import now_ms

DAY_MS = 86_400_000


def test_every_body_is_taken_whole(tmp_path):
    bodies = write_bodies(tmp_path / "bodies", [1, 50]).read_bytes().splitlines()
    assert [admit(body, now_ms(), DAY_MS).accepted for body in bodies] == [1] * BODIES + [50] * BODIES


def test_the_load_numbers_the_events_of_a_body(tmp_path):
    body = write_bodies(tmp_path / "bodies", [3], own_ids=False).read_bytes().splitlines()[0]
    events = json.loads(filled(body.split(ID_PLACE), 254))
    assert [int(event["id"], 16) for event in events] == [254, 255, 256]
    assert len(filled(body.split(ID_PLACE), 254)) == len(body)


def test_events_with_ids_of_their_own_are_all_different(tmp_path):
    bodies = write_bodies(tmp_path / "bodies", [10]).read_bytes().splitlines()
    ids = {event["id"] for body in bodies for event in json.loads(body)}
    assert len(ids) == 10 * BODIES
