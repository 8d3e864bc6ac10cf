"""`python -m benchmarks.stub_aws PORT [--keep]`: SNS, DynamoDB and S3 as far as they are called.

Everything is confirmed at once, so that what is measured is the caller. With `--keep` what SNS took is
kept and counted at GET /_arrived; between POST /_sns/cut and POST /_sns/mend calls to SNS get no answer.
"""

import argparse
import json
import re
from typing import Any

import uvicorn
from botocore.exceptions import ClientError

from benchmarks.memory_dynamodb import MemoryDynamoDb
from kinstream.chunks import decode_chunk

_ENTRY_ID = re.compile(rb"member\.\d+\.Id=(\d+)")
_MESSAGE = re.compile(rb"\.Message=([^&]*)")
_SNS = (
    '<{0}Response xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><{0}Result>{1}</{0}Result></{0}Response>'
)
_MEMBER = "<member><Id>%d</Id><MessageId>00000000-0000-0000-0000-%012d</MessageId></member>"


class Stub:
    """One ASGI callable for all services, told apart by what botocore puts into the request."""

    def __init__(self, *, keep: bool = False) -> None:
        self._dynamodb = MemoryDynamoDb()
        self._keep = keep
        self._messages: list[bytes] = []
        self._cut = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a call, or none where SNS is cut off."""
        body = await _body(receive)
        target = dict(scope["headers"]).get(b"x-amz-target", b"").decode()
        if target.startswith("DynamoDB"):
            status, kind, answer = self._call_dynamodb(target.rpartition(".")[2], body)
        elif body.startswith(b"Action="):
            if self._cut:
                await _until_gone(receive)
                return
            status, kind, answer = 200, b"text/xml", self._call_sns(body)
        elif scope["path"].startswith("/_"):
            status, kind, answer = 200, b"application/json", self._control(scope["path"])
        else:
            status, kind, answer = 200, b"application/xml", b""  # S3: the bucket is there
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _control(self, path: str) -> bytes:
        if path != "/_arrived":
            self._cut = path == "/_sns/cut"
            return b"{}"
        ids = [event.id for message in self._messages for event in decode_chunk(message.decode()).events]
        return json.dumps({"events": len(ids), "distinct": len(set(ids))}).encode()

    def _call_sns(self, body: bytes) -> bytes:
        if self._keep:
            self._messages += _MESSAGE.findall(body)
        return _sns(body)

    def _call_dynamodb(self, action: str, body: bytes) -> tuple[int, bytes, bytes]:
        kind = b"application/x-amz-json-1.0"
        if action == "DescribeTable":
            return 200, kind, b'{"Table":{"TableStatus":"ACTIVE"}}'
        try:
            return 200, kind, json.dumps(self._dynamodb.handle(action, json.loads(body))).encode()
        except ClientError as error:
            code, answer = error.response["Error"]["Code"], dict(error.response)
            answer.pop("Error")
            told = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": code, **answer}
            return 400, kind, json.dumps(told).encode()


def _sns(body: bytes) -> bytes:
    action = body.partition(b"&")[0].partition(b"=")[2].decode()
    if action == "PublishBatch":
        members = "".join(_MEMBER % (int(number), int(number)) for number in _ENTRY_ID.findall(body))
        return _SNS.format(action, f"<Successful>{members}</Successful><Failed/>").encode()
    return _SNS.format(action, "<Attributes/>").encode()


async def _until_gone(receive: Any) -> None:
    """As a network that loses every packet: nothing is taken, and the caller finds out by itself."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def main() -> None:
    """Serve until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    uvicorn.run(Stub(keep=args.keep), host="127.0.0.1", port=args.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
