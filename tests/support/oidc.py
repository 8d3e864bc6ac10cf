"""An identity provider for tests: keys, tokens, and a real server that publishes the keys."""

import base64
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import algorithms

ISSUER = "https://id.example.org/"
AUDIENCE = "kinstream"
APP = "demo"


class Signer:
    """A key of the provider, and what it signs."""

    def __init__(self, algorithm: str = "ES256", name: str | None = None, rsa_bits: int = 2_048) -> None:
        self.algorithm = algorithm
        self.name = name or uuid.uuid4().hex
        if algorithm == "RS256":
            self.private: Any = rsa.generate_private_key(65_537, rsa_bits)
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> dict[str, Any]:
        """As the provider publishes it."""
        form: Any = {
            "RS256": algorithms.RSAAlgorithm,
            "ES256": algorithms.ECAlgorithm,
            "EdDSA": algorithms.OKPAlgorithm,
        }[self.algorithm]
        published = json.loads(form.to_jwk(self.private.public_key()))
        published.pop("key_ops", None)
        return published | {"kid": self.name, "use": "sig"}

    @property
    def public_pem(self) -> bytes:
        """The public key as text that anybody has."""
        public: Any = self.private.public_key()
        return bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def token(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token; a claim that is None is left out."""
        said = {name: value for name, value in (good_claims() | claims).items() if value is not None}
        return jwt.encode(said, self.private, self.algorithm, {"kid": self.name} | (headers or {}))


def good_claims() -> dict[str, Any]:
    """What a token of a guardian says."""
    now = int(time.time())
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "parent-1",
        "iat": now,
        "exp": now + 600,
        "customer_id": "fam-1",
        "role": "guardian",
    }


def handmade(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A token that no library would make."""
    return ".".join(
        encoded(part) for part in (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    )


def encoded(part: bytes) -> str:
    """Base64 as tokens have it."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


class Provider:
    """Publishes keys over HTTP and counts who asks."""

    def __init__(self, url: str, *signers: Signer) -> None:
        self.url = url
        self.asked = 0
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {}
        self.publish(*signers)

    def publish(self, *signers: Signer) -> None:
        """From now on these keys and no others."""
        self.body = json.dumps({"keys": [signer.public for signer in signers]}).encode()


@contextmanager
def provider(*signers: Signer) -> Iterator[Provider]:
    """A server on this host, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running.asked += 1
            self.send_response(running.status)
            for name, value in running.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(running.body)))
            self.end_headers()
            self.wfile.write(running.body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = Provider(f"http://127.0.0.1:{server.server_port}/keys", *signers)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
