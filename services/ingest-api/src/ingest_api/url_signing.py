"""URLs that work without a key, for one thing and one time: an HMAC over the path, the query and the expiry.

Whatever sits in an `<img>`, a player or an EventSource can send no header. Such a URL says in itself whose
app it is of (`app`), until when it works (`expires`, seconds since 1970) and who said so (`signature`).

    message   = path + "?" + the query's parts but `signature`, sorted, joined with "&"
    signature = HMAC-SHA256(the app's signing key as text, message), in lower-case hex

The parts are taken as they were sent, percent-encoded or not: who signs and who sends write them alike. An
app's signing key follows from the deployment's, so that no app can sign for another. Pure, but for the clock.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, unquote

from ingest_api.errors import ApiError
from kinstream.clock import now_ms
from kinstream.errors import PermanentError

MIN_KEY_CHARACTERS = 32
MAX_LIFE_SECONDS = 7 * 86_400
_SIGNATURE = "signature="
_HEX_CHARACTERS = 64
_PURPOSE = b"kinstream urls of app "


@dataclass(frozen=True, slots=True)
class Signed:
    """What a good URL says of itself."""

    app: str
    expires_at_seconds: int


class UrlSigner:
    """Signs with the first of the deployment's keys and believes all of them, so that one can be replaced.

    PermanentError where there is no key, or one that could be guessed.
    """

    def __init__(self, keys: Sequence[str], now_ms: Callable[[], int] = now_ms) -> None:
        if not keys or min(map(len, keys)) < MIN_KEY_CHARACTERS:
            raise PermanentError(
                f"set KINSTREAM_MEDIA_URL_KEY to a secret of at least {MIN_KEY_CHARACTERS} characters"
            )
        self._keys = [key.encode() for key in keys]
        self._now_ms = now_ms

    def key_of(self, app: str) -> str:
        """What an app's server signs with by itself. Changes with the deployment's first key."""
        return _derived(self._keys[0], app)

    def expiry(self, life_seconds: int) -> int:
        """When a URL made now should expire: after `life_seconds`, and up to a quarter of it later.

        URLs made at about the same time are the same, so that caches find what they hold.
        """
        step = max(1, life_seconds // 4)
        return -(-(self._now_ms() // 1000 + life_seconds) // step) * step

    def sign(self, app: str, path: str, query: Mapping[str, object], expires_at_seconds: int) -> str:
        """`path` and query of a URL that works until then."""
        told = {"app": app, "expires": expires_at_seconds, **query}
        parts = sorted(f"{quote(name, safe='')}={quote(str(value), safe='')}" for name, value in told.items())
        joined = "&".join(parts)
        return f"{path}?{joined}&{_SIGNATURE}{_signature(self.key_of(app), path, joined)}"

    def check(self, path: str, query: str) -> Signed:
        """Whose URL it is. ApiError 403 where it is not signed, not as it was signed, or has expired.

        `path` and `query` are as they were sent: percent-encoded, without the question mark.
        """
        parts = query.split("&")
        told = [part.removeprefix(_SIGNATURE) for part in parts if part.startswith(_SIGNATURE)]
        if not told:
            raise _forbidden("unsigned", "this address needs a signature; docs/media.md says how to sign")
        rest = sorted(part for part in parts if not part.startswith(_SIGNATURE))
        app, expires = _only(rest, "app="), _only(rest, "expires=")
        if len(told) != 1 or not app or not self._is_right(unquote(app), path, "&".join(rest), told[0]):
            raise _forbidden("invalid_signature", "the signature is not of this address; sign it anew")
        if not expires.isdecimal() or not expires.isascii() or len(expires) > 15:
            raise _forbidden("invalid_signature", "expires must be seconds since 1970; sign it anew")
        if int(expires) * 1000 <= self._now_ms():
            raise _forbidden("link_expired", "this address has expired; get or sign a new one")
        return Signed(unquote(app), int(expires))

    def _is_right(self, app: str, path: str, rest: str, signature: str) -> bool:
        if len(signature) != _HEX_CHARACTERS or not signature.isascii():
            return False
        # All of them are tried, and to the end: how long it takes tells nothing.
        right = [
            hmac.compare_digest(_signature(_derived(key, app), path, rest), signature) for key in self._keys
        ]
        return any(right)


def parse_keys(text: str) -> list[str]:
    """The keys of the setting: one, or the new and the old one with a comma between."""
    return [key.strip() for key in text.split(",") if key.strip()]


def _derived(key: bytes, app: str) -> str:
    return hmac.digest(key, _PURPOSE + app.encode(errors="surrogatepass"), "sha256").hex()


def _signature(key: str, path: str, rest: str) -> str:
    message = f"{path}?{rest}".encode(errors="surrogatepass")
    return hmac.digest(key.encode(), message, "sha256").hex()


def _only(parts: Sequence[str], prefix: str) -> str:
    found = [part.removeprefix(prefix) for part in parts if part.startswith(prefix)]
    return found[0] if len(found) == 1 else ""


def _forbidden(code: str, message: str) -> ApiError:
    return ApiError(HTTPStatus.FORBIDDEN, code, message)
