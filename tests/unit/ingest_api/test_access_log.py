"""Which requests are written to the log, and what a line holds."""

import logging
import time
from collections.abc import Iterator

import pytest

from ingest_api.access_log import AccessLog


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    kept, logger = _Kept(), logging.getLogger("ingest_api.access")
    level = logger.level
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    yield kept.records
    logger.removeHandler(kept)
    logger.setLevel(level)


def test_one_in_so_many_successes_on_the_hot_path_is_written(lines):
    log = AccessLog(every=10)
    for _ in range(25):
        log.sent("POST", "/v1/events", 202, time.perf_counter(), events=3)
    assert [(line.route, line.status, line.events) for line in lines] == [("/v1/events", 202, 3)] * 2


def test_every_other_request_is_written(lines):
    log = AccessLog(every=10)
    log.sent("POST", "/v1/batch", 503, time.perf_counter(), events=0)
    log.served("GET", "/v1/customers/{customer_id}/sessions", 200, time.perf_counter())
    log.served("GET", "/v1/customers/{customer_id}/alerts", 404, time.perf_counter())
    assert [line.status for line in lines] == [503, 200, 404]
    assert all(line.ms >= 0 for line in lines)


def test_a_flood_of_errors_does_not_flood_the_log(lines, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    log = AccessLog(every=10, errors_per_second=5)
    for _ in range(50):
        log.sent("POST", "/v1/events", 401, time.perf_counter(), events=0)
    assert len(lines) == 5
    now = 101.0
    log.sent("POST", "/v1/events", 401, time.perf_counter(), events=0)
    assert len(lines) == 6
