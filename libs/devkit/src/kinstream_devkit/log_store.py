"""The services' log lines in OpenSearch: how they are kept, and finding them again.

Fluent Bit writes them, a day an index. Nothing of customers is in a line: see `kinstream.telemetry`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import httpx
from opensearchpy import NotFoundError, OpenSearch
from opensearchpy.exceptions import OpenSearchException, TransportError

from kinstream.errors import PermanentError, RetryableError

NAME = "kinstream-logs"
"""Of the template and the policy; the first part of each index's name."""

PATTERN = f"{NAME}-*"
_PAGE_LINES = 1_000
_TOO_MANY = 429
_TOLD = ("@timestamp", "level", "service", "message", "exception")

Given = ParamSpec("Given")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines. What is None does not matter."""

    since: str
    """A time as OpenSearch reads it: RFC 3339, or `now-1h`."""
    text: str | None = None
    """Words that all are in the message."""
    service: str | None = None
    level: str | None = None
    limit: int = 100


def template() -> dict[str, Any]:
    """Index template: what is filtered by is a keyword; what is unknown is kept and not indexed."""
    keyword = {"type": "keyword", "ignore_above": 256}
    return {
        "index_patterns": [PATTERN],
        "priority": 100,
        "template": {
            "settings": {"number_of_shards": 1, "number_of_replicas": 0, "codec": "best_compression"},
            "mappings": {
                # A line may hold any extra; indexed, they would be more fields than an index takes.
                "dynamic": False,
                "properties": {
                    "@timestamp": {"type": "date"},
                    "level": keyword,
                    "service": keyword,
                    "logger": keyword,
                    "message": {"type": "text"},
                    "error": keyword,
                    "reason": keyword,
                    "trace_id": keyword,
                    "exception": {"type": "text"},
                },
            },
        },
    }


def retention(days: int) -> dict[str, Any]:
    """State management policy: an index is deleted so many days after it was made."""
    return {
        "policy": {
            "description": f"Lines are kept for {days} days",
            "default_state": "kept",
            "states": [
                {
                    "name": "kept",
                    "actions": [],
                    "transitions": [{"state_name": "deleted", "conditions": {"min_index_age": f"{days}d"}}],
                },
                {"name": "deleted", "actions": [{"delete": {}}], "transitions": []},
            ],
            "ism_template": [{"index_patterns": [PATTERN], "priority": 100}],
        }
    }


def query_of(wanted: Wanted) -> dict[str, Any]:
    """The search for lines, the newest first."""
    filters: list[dict[str, Any]] = [{"range": {"@timestamp": {"gte": wanted.since}}}]
    filters += [
        {"term": {name: value}}
        for name, value in (("service", wanted.service), ("level", wanted.level))
        if value is not None
    ]
    found: dict[str, Any] = {"filter": filters}
    if wanted.text:
        found["must"] = [{"match": {"message": {"query": wanted.text, "operator": "and"}}}]
    return {
        "query": {"bool": found},
        "sort": [{"@timestamp": {"order": "desc", "unmapped_type": "date"}}],
        "size": min(wanted.limit, _PAGE_LINES),
    }


def _answering(call: Callable[Given, Result]) -> Callable[Given, Result]:
    @wraps(call)
    def answered(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return call(*args, **kwargs)
        except OpenSearchException as error:
            status = error.status_code if isinstance(error, TransportError) else None
            is_refusal = isinstance(status, int) and 400 <= status < 500 and status != _TOO_MANY
            kind = PermanentError if is_refusal else RetryableError
            raise kind(f"OpenSearch does not do it: {error}") from error

    return answered


class LogStore:
    """What holds the lines. RetryableError where it does not answer, PermanentError where it refuses."""

    def __init__(self, client: OpenSearch) -> None:
        self._client = client

    @_answering
    def set_up(self, days: int) -> None:
        """Tell how lines are kept, and for how long. May be repeated; other days are taken over."""
        self._client.indices.put_index_template(name=NAME, body=template())
        policies = self._client.plugins.index_management
        try:
            known = policies.get_policy(NAME)
        except NotFoundError:
            policies.put_policy(NAME, body=retention(days))
            return
        seen = {"if_seq_no": known["_seq_no"], "if_primary_term": known["_primary_term"]}
        policies.put_policy(NAME, body=retention(days), params=seen)

    @_answering
    def find(self, wanted: Wanted) -> list[Mapping[str, Any]]:
        """Lines, the oldest first; of too many the newest."""
        answer = self._client.search(index=PATTERN, body=query_of(wanted))
        return [hit["_source"] for hit in reversed(answer["hits"]["hits"])]


def tell_dashboards(url: str) -> None:
    """Have Dashboards know the indexes of lines, and show them first. Raises as `LogStore` does."""
    pattern = {"attributes": {"title": PATTERN, "timeFieldName": "@timestamp"}}
    try:
        with httpx.Client(base_url=url, headers={"osd-xsrf": "true"}, timeout=30) as client:
            made = client.post(
                f"/api/saved_objects/index-pattern/{NAME}", params={"overwrite": True}, json=pattern
            )
            first = {"changes": {"defaultIndex": NAME}}
            for answer in (made, client.post("/api/opensearch-dashboards/settings", json=first)):
                answer.raise_for_status()
    except httpx.HTTPError as error:
        raise RetryableError(f"Dashboards does not do it: {error}") from error


def told(line: Mapping[str, Any]) -> str:
    """A line as people read it."""
    time, level, service, message, exception = (line.get(name, "") for name in _TOLD)
    others = (f"{name}={line[name]}" for name in sorted(line.keys() - {*_TOLD, "time", "logger"}))
    first = " ".join([f"{time} {level:<7} {service}: {message}", *others])
    return f"{first}\n{exception}" if exception else first
