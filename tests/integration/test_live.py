"""Telling open screens what happens: the blocking side, with a real Redis and with none."""

import logging

import redis as redis_client

from kinstream import live
from kinstream.settings import CoreSettings
from kinstream_devkit.embedded.emulator import HOST, free_port
from tests.support.network import NOBODYS_PORT
from tests.support.redis_server import redis_server


def test_what_is_published_reaches_that_customer_and_no_other(redis_url, name_prefix):
    publisher = live.open_publisher(
        CoreSettings(name_prefix=name_prefix, redis_url=redis_url, redis_timeout_seconds=10)
    )
    with redis_client.Redis.from_url(redis_url) as client, client.pubsub() as pubsub:
        pubsub.subscribe(live.channel(name_prefix, "demo", "fam#1"))
        assert pubsub.get_message(timeout=60)["type"] == "subscribe"
        assert publisher.publish("demo", "fam", "media.ready", {"media_id": "other customer"})
        assert publisher.publish("other", "fam#1", "media.ready", {"media_id": "other app"})
        assert publisher.publish("demo", "fam#1", "media.progress", {"media_id": "m1", "progress": 40})
        message = pubsub.get_message(timeout=60)
        assert live.decode(message["data"]) == ("media.progress", {"media_id": "m1", "progress": 40})
        assert pubsub.get_message(timeout=0.05) is None
    publisher.close()


def test_without_redis_nothing_is_raised_and_one_line_is_logged(name_prefix, caplog):
    settings = CoreSettings(name_prefix=name_prefix, redis_url=f"redis://{HOST}:{NOBODYS_PORT}/0")
    publisher = live.open_publisher(settings)
    with caplog.at_level(logging.WARNING):
        for number in range(20):
            assert not publisher.publish("demo", "fam-1", "media.progress", {"progress": number})
    assert publisher.dropped == 20
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_redis_that_comes_back_is_used_again(name_prefix, monkeypatch):
    monkeypatch.setattr(live, "_PAUSE_SECONDS", 0.0)
    port = free_port()
    publisher = live.open_publisher(
        CoreSettings(name_prefix=name_prefix, redis_url=f"redis://{HOST}:{port}/0", redis_timeout_seconds=10)
    )
    with redis_server(port):
        assert publisher.publish("demo", "fam-1", "media.ready", {})
    assert not publisher.publish("demo", "fam-1", "media.ready", {})
    with redis_server(port):
        assert publisher.publish("demo", "fam-1", "media.ready", {})
    assert publisher.dropped == 0
    publisher.close()
