"""PublishBatch to one SNS topic, at a tenth of the CPU that a general client spends on it.

At least once: a call that timed out may have been taken, so what is sent again may arrive twice.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import aiohttp

from kinstream.chunks import TYPES_ATTRIBUTE
from kinstream.errors import RetryableError
from kinstream.sigv4 import Credentials, Service, signed_headers
from kinstream.tracing import TRACEPARENT

MAX_BATCH_MESSAGES = 10
MAX_BATCH_BYTES = 256 * 1024
_ATTEMPTS = 2
_PAUSE_SECONDS = 0.1

_FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class SnsMessage:
    """A chunk, whose characters need no escape in a form, and its `types` attribute, a JSON array.

    And, where it is of a trace, its `traceparent` attribute.
    """

    body: bytes
    types: bytes
    traceparent: str = ""

    @property
    def size_bytes(self) -> int:
        """What it adds to a batch by SNS' own count: body and attribute."""
        of_trace = len(TRACEPARENT) + len("String") + len(self.traceparent) if self.traceparent else 0
        return len(self.body) + len(self.types) + len(TYPES_ATTRIBUTE) + len("String.Array") + of_trace


@dataclass(frozen=True, slots=True)
class SnsAddress:
    """Where the topic is: the service's URL, its region and the topic's ARN."""

    url: str
    region: str
    topic_arn: str


class SnsTopic:
    """Publishes batches. Two attempts of `timeout_seconds` each; then RetryableError."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        address: SnsAddress,
        credentials: Callable[[], Awaitable[Credentials]],
        timeout_seconds: float,
    ) -> None:
        self._http = http
        self._address = address
        self._service = Service("sns", address.region, address.url.split("://", 1)[1].split("/", 1)[0])
        self._credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._prefix = (
            b"Action=PublishBatch&Version=2010-03-31&TopicArn=" + quote(address.topic_arn, safe="").encode()
        )

    async def publish(self, messages: Sequence[SnsMessage]) -> set[int]:
        """Publish at most ten messages; the positions of those that SNS did not take."""
        body = self._prefix + b"".join(_entry(number, message) for number, message in enumerate(messages, 1))
        answer = await self._post(body)
        confirmed = _ids(answer, "Successful")
        return {number - 1 for number in range(1, len(messages) + 1) if number not in confirmed}

    async def check(self) -> None:
        """Raise RetryableError unless the topic answers."""
        arn = quote(self._address.topic_arn, safe="").encode()
        await self._post(b"Action=GetTopicAttributes&Version=2010-03-31&TopicArn=" + arn)

    async def _post(self, body: bytes) -> str:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._attempt(body)
            except (aiohttp.ClientError, TimeoutError, RetryableError) as error:
                reason = str(error) or type(error).__name__
                if attempt == _ATTEMPTS:
                    raise RetryableError(f"SNS does not answer: {reason}") from error
            await asyncio.sleep(_PAUSE_SECONDS)
        raise AssertionError("unreachable")

    async def _attempt(self, body: bytes) -> str:
        credentials = await self._credentials()
        headers = signed_headers(self._service, body, _FORM, credentials, datetime.now(UTC))
        async with self._http.post(
            self._address.url, data=body, headers=headers, timeout=self._timeout
        ) as response:
            answer = await response.text()
            if response.status != 200:
                code = re.search(r"<Code>([^<]*)", answer)
                raise RetryableError(f"status {response.status} {code[1] if code else ''}")
            return answer


def _entry(number: int, message: SnsMessage) -> bytes:
    member = b"&PublishBatchRequestEntries.member.%d." % number
    entry = (
        member + b"Id=%d" % number,
        member + b"Message=" + message.body,
        *_attribute(member, 1, TYPES_ATTRIBUTE, b"String.Array", quote(message.types, safe="")),
    )
    if message.traceparent:
        entry += _attribute(member, 2, TRACEPARENT, b"String", message.traceparent)
    return b"".join(entry)


def _attribute(member: bytes, number: int, name: str, kind: bytes, value: str) -> tuple[bytes, ...]:
    prefix = member + b"MessageAttributes.entry.%d." % number
    return (
        prefix + b"Name=" + name.encode(),
        prefix + b"Value.DataType=" + kind,
        prefix + b"Value.StringValue=" + value.encode(),
    )


def _ids(answer: str, element: str) -> set[int]:
    """Ids inside an element of SNS' answer. What cannot be read counts as not confirmed."""
    inside = re.search(f"<{element}>(.*?)</{element}>", answer, re.DOTALL)
    return {int(found) for found in re.findall(r"<Id>(\d+)</Id>", inside[1])} if inside else set()
