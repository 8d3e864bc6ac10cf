"""The peer of ingest: uvicorn, msgspec and nothing else. It decodes the body, keeps nothing, answers 202."""

from typing import Any

import msgspec


class BareEvent(msgspec.Struct):
    """The fields of a native event without any rule on them; the payload stays bytes, as in ingest-api."""

    id: str
    type: str
    customer_id: str
    occurred_at: str
    device_id: str = ""
    person_id: str = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")


_one = msgspec.json.Decoder(BareEvent).decode
_many = msgspec.json.Decoder(list[BareEvent]).decode
_JSON = (b"content-type", b"application/json")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a POST."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    count = len(_many(body)) if body.startswith(b"[") else bool(_one(body))
    answer = b'{"accepted":%d,"rejected":[]}' % count
    length = (b"content-length", b"%d" % len(answer))
    await send({"type": "http.response.start", "status": 202, "headers": [_JSON, length]})
    await send({"type": "http.response.body", "body": answer})
