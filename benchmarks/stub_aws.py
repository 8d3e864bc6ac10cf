"""`python -m benchmarks.stub_aws PORT`: SNS, DynamoDB and S3 as far as the measured programs call them.

Everything is confirmed at once and kept in memory, so that what is measured is the caller.
"""

import json
import re
import sys
from typing import Any

import uvicorn
from botocore.exceptions import ClientError

from benchmarks.memory_dynamodb import MemoryDynamoDb

_ENTRY_ID = re.compile(rb"member\.\d+\.Id=(\d+)")
_SNS = (
    '<{0}Response xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><{0}Result>{1}</{0}Result></{0}Response>'
)
_MEMBER = "<member><Id>%d</Id><MessageId>00000000-0000-0000-0000-%012d</MessageId></member>"


class Stub:
    """One ASGI callable for all services, told apart by what botocore puts into the request."""

    def __init__(self) -> None:
        self._dynamodb = MemoryDynamoDb()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a call."""
        body = await _body(receive)
        target = dict(scope["headers"]).get(b"x-amz-target", b"").decode()
        if target.startswith("DynamoDB"):
            status, kind, answer = self._call_dynamodb(target.rpartition(".")[2], body)
        elif body.startswith(b"Action="):
            status, kind, answer = 200, b"text/xml", _sns(body)
        else:
            status, kind, answer = 200, b"application/xml", b""  # S3: the bucket is there
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _call_dynamodb(self, action: str, body: bytes) -> tuple[int, bytes, bytes]:
        kind = b"application/x-amz-json-1.0"
        if action in ("Query", "DescribeTable"):
            return 200, kind, b'{"Items":[],"Count":0,"Table":{"TableStatus":"ACTIVE"}}'
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


async def _body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


if __name__ == "__main__":
    uvicorn.run(Stub(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
