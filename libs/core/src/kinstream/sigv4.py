"""AWS Signature Version 4 for a POST to `/`, as SNS' form protocol and DynamoDB's JSON protocol use it."""

import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, Protocol


class Credentials(Protocol):
    """What botocore calls frozen credentials."""

    access_key: str
    secret_key: str
    token: str | None


class Service(NamedTuple):
    """Where a request goes: the service's name in signatures, its region, and the host as in the URL."""

    name: str
    region: str
    host: str


def signed_headers(
    service: Service, body: bytes, headers: Mapping[str, str], credentials: Credentials, now: datetime
) -> dict[str, str]:
    """All headers of the request: `headers` (names in lower case), those that signing adds, the signature.

    Source: AWS General Reference, "Create a signed AWS API request".
    """
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    signed = {**headers, "host": service.host, "x-amz-date": stamp}
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    names = sorted(signed)
    lines = "".join(f"{name}:{signed[name]}\n" for name in names)
    listed = ";".join(names)
    request = f"POST\n/\n\n{lines}\n{listed}\n{sha256(body).hexdigest()}"
    scope = f"{stamp[:8]}/{service.region}/{service.name}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    key = _signing_key(credentials.secret_key, scope)
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={listed}, Signature={signature}"
    )
    return signed


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, scope: str) -> bytes:
    """Good for a day, a region and a service."""
    key = ("AWS4" + secret_key).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
