"""Waiting at the start: for a bounded time, and in words."""

import json
import logging
from collections.abc import Awaitable, Callable

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from pydantic import Field, SecretStr

from kinstream.errors import RetryableError
from kinstream.settings import CoreSettings, read_settings
from kinstream.startup import CATALOG, NotStartedError, absent, queues, saying_why, tables, wait_for


class Time:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds


def refusing(code: str) -> Callable[[], None]:
    def check() -> None:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "Call")

    return check


def away() -> None:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9/")


def answering_after(failures: int, answer: str) -> Callable[[], Awaitable[str]]:
    left = [away] * failures

    async def check() -> str:
        if left:
            left.pop()()
        return answer

    return check


async def test_answers_come_by_name_once_all_have_answered():
    time = Time()
    needs = {"one": answering_after(3, "1"), "two": lambda: "2"}
    assert await wait_for(needs, 60, clock=time, sleep=time.sleep) == {"one": "1", "two": "2"}
    assert time.pauses == [0.1, 0.2, 0.4]


async def test_waiting_is_said_once_and_not_at_all_where_nothing_is_waited_for():
    time, said = Time(), []
    await wait_for({"one": lambda: 1}, 60, say=said.append, clock=time, sleep=time.sleep)
    assert said == []
    needs = {"one": answering_after(9, "1"), "two": answering_after(1, "2"), "three": lambda: 3}
    await wait_for(needs, 60, say=said.append, clock=time, sleep=time.sleep)
    assert said == ['waiting for one and two: Could not connect to the endpoint URL: "http://127.0.0.1:9/"']


async def test_nothing_is_waited_for_any_longer_than_it_is_said():
    time = Time()
    with pytest.raises(
        NotStartedError, match=r"^queue q has not answered for 60 s: Could not connect .*NETWORK"
    ):
        await wait_for(
            {"queue q": away, "two": lambda: 2}, 60, advice="NETWORK", clock=time, sleep=time.sleep
        )
    assert time.seconds == pytest.approx(60)
    assert max(time.pauses) == 2.0


@pytest.mark.parametrize(
    ("check", "advice"),
    [
        (refusing("AWS.SimpleQueueService.NonExistentQueue"), "apply Terraform to the end"),
        (refusing("ResourceNotFoundException"), "kinstream setup"),
        (refusing("NoSuchBucket"), "kinstream setup"),
        (refusing("404"), "kinstream setup"),
        (refusing("AccessDeniedException"), "role"),
        (refusing("403"), "role"),
        (away, "KINSTREAM_AWS_ENDPOINT_URL"),
    ],
)
async def test_what_to_do_follows_from_what_is_wrong(check: Callable[[], None], advice: str):
    time = Time()
    with pytest.raises(NotStartedError, match=f"; .*{advice}"):
        await wait_for({"queue q": check}, 1, clock=time, sleep=time.sleep)


async def test_what_needs_the_same_remedy_is_told_together():
    def catalog() -> None:
        raise RetryableError("the catalog cannot be used now: refused\nand more")

    time, gone = Time(), refusing("ResourceNotFoundException")
    needs = {"table a": gone, CATALOG: catalog, "table b": gone, "table c": gone}
    with pytest.raises(NotStartedError) as told:
        await wait_for(needs, 0.5, clock=time, sleep=time.sleep)
    tables_told, catalog_told = str(told.value).split(". ")
    assert tables_told.startswith("table a, table b and table c have not answered for 0.5 s: ")
    assert catalog_told.startswith(
        "catalog has not answered for 0.5 s: the catalog cannot be used now: refused; "
    )
    assert "KINSTREAM_CATALOG_URL" in catalog_told


async def test_mistake_in_a_check_is_no_absence():
    def mistaken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await wait_for({"one": mistaken}, 60)


async def test_those_that_are_away_now_are_told_with_their_errors():
    found = await absent({"one": away, "two": lambda: 2})
    assert [(name, type(error)) for name, error in found.items()] == [("one", EndpointConnectionError)]


async def test_checks_bear_the_names_of_what_they_ask():
    class Client:
        def get_queue_url(self, **request: str) -> dict[str, str]:
            return {"QueueUrl": f"http://sqs/{request['QueueName']}"}

        async def get_item(self, **request: str) -> str:
            return request["TableName"]

    needs = queues(Client(), ["k-uploads"]) | tables(Client(), ["k-ledger"])
    assert await wait_for(needs, 1) == {
        "queue k-uploads": "http://sqs/k-uploads",
        "table k-ledger": "k-ledger",
    }


def test_service_that_cannot_start_ends_with_one_line_and_no_traceback(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as ended, saying_why("a-service"):
        raise NotStartedError("queue q has not answered")
    assert ended.value.code == 1
    assert [(line.message, line.exc_info) for line in caplog.records] == [
        ("a-service cannot start: queue q has not answered", None)
    ]


class Settings(CoreSettings):
    own_secret: SecretStr = Field(SecretStr(""), description="a word")


def test_all_that_is_wrong_with_settings_is_named_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KINSTREAM_STARTUP_WAIT_SECONDS", "soon-ish")
    monkeypatch.setenv("KINSTREAM_AWS_ENDPOINT_URL", "ministack:4566")
    with pytest.raises(SystemExit) as told:
        read_settings(Settings, "a-service")
    assert str(told.value).startswith("a-service cannot start: KINSTREAM_AWS_ENDPOINT_URL: ")
    assert "KINSTREAM_STARTUP_WAIT_SECONDS: " in str(told.value)
    assert "soon-ish" not in str(told.value)


def test_secret_that_is_missing_or_empty_is_named_with_what_it_has_to_be(monkeypatch: pytest.MonkeyPatch):
    expected = "a-service cannot start: KINSTREAM_OWN_SECRET is not set: it has to be a word"
    for value in (None, ""):
        if value is not None:
            monkeypatch.setenv("KINSTREAM_OWN_SECRET", value)
        with pytest.raises(SystemExit) as told:
            read_settings(Settings, "a-service", "own_secret")
        assert str(told.value) == expected
    monkeypatch.setenv("KINSTREAM_OWN_SECRET", json.dumps("x"))
    assert read_settings(Settings, "a-service", "own_secret").own_secret.get_secret_value()
