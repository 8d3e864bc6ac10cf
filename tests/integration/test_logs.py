"""Log lines in OpenSearch: `kinstream logs`, and what Fluent Bit hands on."""

import io
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from kinstream.telemetry import JsonFormatter, configure_logging
from kinstream_devkit.log_store import NAME, template
from tests.support.opensearch import FakeOpenSearch, fake_opensearch
from tests.support.repository import ROOT
from tests.support.stack import kinstream


@pytest.fixture
def opensearch() -> Iterator[FakeOpenSearch]:
    with fake_opensearch() as running:
        yield running


def line(
    message: str, *, minutes_ago: float = 1, level: str = "INFO", service: str = "ingest-api", **more
) -> dict:
    """A line as Fluent Bit writes it."""
    time = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    base = {"@timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z"), "level": level, "service": service}
    return base | {"logger": "x", "message": message} | more


def logs(opensearch: FakeOpenSearch, *arguments: str) -> tuple[int, str, str]:
    ended = kinstream("logs", *arguments, variables={"KINSTREAM_OPENSEARCH_URL": opensearch.url})
    return ended.returncode, ended.stdout, ended.stderr


def test_setup_tells_how_lines_are_kept_and_may_be_repeated_with_other_days(opensearch):
    opensearch.is_starting = 8  # more than its client tries by itself
    code, _, said = logs(opensearch, "setup", "--days", "7", "--dashboards", opensearch.url)
    assert code == 0, said
    assert "waiting for OpenSearch" in said
    assert opensearch.templates[NAME] == template()
    assert opensearch.saved[NAME]["timeFieldName"] == "@timestamp"
    assert opensearch.settings == {"defaultIndex": NAME}
    assert logs(opensearch, "setup", "--days", "30")[0] == 0
    ages = [
        step["conditions"]["min_index_age"]
        for state in opensearch.policies[NAME]["policy"]["states"]
        for step in state["transitions"]
    ]
    assert ages == ["30d"]


def test_lines_are_found_by_words_service_level_and_time(opensearch):
    opensearch.lines = [
        line("events not published", minutes_ago=2, level="WARNING", reason="SNS does not answer"),
        line("events published", minutes_ago=3),
        line("events not published", minutes_ago=90),
        line("a sweep failed", service="session-worker", level="ERROR", exception="Traceback ...\nOops"),
    ]
    code, found, said = logs(opensearch, "find", "not", "published")
    assert (code, said) == (0, "1 lines\n")
    assert found.endswith("WARNING ingest-api: events not published reason=SNS does not answer\n")
    assert len(logs(opensearch, "find", "not", "published", "--since", "now-2h")[1].splitlines()) == 2
    assert logs(opensearch, "find", "--level", "ERROR")[1].splitlines()[-1] == "Oops"
    assert "sweep" not in logs(opensearch, "find", "--service", "ingest-api")[1]
    newest = logs(opensearch, "find", "--limit", "1")
    assert "a sweep failed" in newest[1]
    assert "perhaps more" in newest[2]


def test_absent_opensearch_is_a_sentence_and_not_a_traceback():
    ended = kinstream("logs", "find", "--url", "http://127.0.0.1:9")
    assert ended.returncode == 2
    assert "OpenSearch does not do it" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_field_of_a_line_that_services_write_is_sorted_or_searched_by():
    out = io.StringIO()
    configure_logging("ingest-api", stream=out)
    try:
        record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "text"})
        fields = set(yaml.safe_load(JsonFormatter("ingest-api").format(record)))
    finally:
        logging.basicConfig(handlers=[], force=True)
    known = template()["template"]["mappings"]["properties"].keys()
    assert fields - {"time"} <= known


def test_fluent_bit_sends_to_the_indexes_that_the_template_is_for():
    config = yaml.safe_load((ROOT / "infra/logs/fluent-bit.yaml").read_text())
    (output,) = config["pipeline"]["outputs"]
    assert output["logstash_prefix"] == NAME
    assert output["time_key"] == "@timestamp"
    parsers = {parser["name"]: parser for parser in config["parsers"]}
    # Its own words for what Python calls %f and leaves to %z.
    shape = parsers["service_line"]["time_format"].replace("%L", "%f").replace("Z", "%z")
    assert datetime.strptime("2026-11-21T15:00:17.071Z", shape).microsecond == 71_000  # noqa: DTZ007
