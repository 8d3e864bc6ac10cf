"""URLs that stand for themselves: made for callers who may, and believed where they come back."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field

from ingest_api.auth import Authenticator, Caller
from ingest_api.routes.access import Access
from ingest_api.url_signing import MAX_LIFE_SECONDS, Signed, UrlSigner

LifeSeconds = Annotated[
    int, Field(ge=60, le=MAX_LIFE_SECONDS, description="For how long it works; up to a quarter longer.")
]
_AppOfUrl = Annotated[str | None, Query(description="The app whose key it is signed with")]
_Expires = Annotated[str | None, Query(description="Until when it works, in seconds since 1970")]
_Signature = Annotated[str | None, Query(description="HMAC-SHA256 in hex, see docs/media.md")]


class SigningKey(BaseModel):
    """What the app's server signs URLs with by itself. A secret, like a secret key."""

    app: str
    key: str


class Links:
    """Makes signed URLs of this API, absolute ones where it is known how clients reach it."""

    def __init__(self, signer: UrlSigner, public_url: str | None, life_seconds: int) -> None:
        self.signer = signer
        self._public_url = (public_url or "").rstrip("/")
        self._life_seconds = life_seconds

    def expiry(self, life_seconds: int | None = None) -> int:
        """When a URL made now expires, in seconds since 1970; for as long as the setting says unless told."""
        return self.signer.expiry(life_seconds or self._life_seconds)

    def make(self, request: Request, app: str, path: str, expires: int, **query: object) -> str:
        """A URL as the client that sends this request can call it."""
        return self._base(request) + self.signer.sign(app, path, query, expires)

    def _base(self, request: Request) -> str:
        host = request.headers.get("host")
        return self._public_url or (f"{request.url.scheme}://{host}" if host else "")


def signed_by(signer: UrlSigner) -> Any:
    """The dependency of a route that is called by a signed URL: what that says of itself, or 403."""

    async def signed(
        request: Request, app: _AppOfUrl = None, expires: _Expires = None, signature: _Signature = None
    ) -> Signed:
        # As they were sent: the parameters above only describe them.
        return signer.check(request.scope["path"], request.scope["query_string"].decode("latin-1"))

    return Depends(signed)


def links_router(signer: UrlSigner, authenticator: Authenticator) -> APIRouter:
    """What a server needs to sign by itself."""
    router = APIRouter(tags=["media"])
    access = Access(authenticator)

    @router.get("/v1/signing-key", summary="The key with which a server signs URLs by itself")
    async def signing_key(caller: Annotated[Caller, access.server]) -> SigningKey:
        """Follows from the deployment's key: fetch it when your server starts, and when an answer is 403."""
        return SigningKey(app=caller.app, key=signer.key_of(caller.app))

    return router
