"""Apps and their API keys: what a key is, and what the registry holds of it (never the key itself)."""

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from kinstream.errors import PermanentError

KeyKind = Literal["write", "secret"]
_PREFIXES: dict[str, KeyKind] = {"kw": "write", "ks": "secret"}
_RANDOM_BYTES = 24
_APP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key's public part: who it speaks for and what it may do."""

    app: str
    kind: KeyKind
    hash: str
    """SHA-256 of the whole key in hex; 192 random bits need no salt and no slow hash."""

    @property
    def label(self) -> str:
        """What people and logs may see of it."""
        return f"{self.kind} {self.hash[:8]}"


def create_key(app: str, kind: KeyKind) -> tuple[str, ApiKey]:
    """(the key's text, shown once; its public part). The text looks like `kw_<app>_<random>`.

    PermanentError where the app's name could not be a part of a key or of an object's name.
    """
    if not _APP.fullmatch(app):
        raise PermanentError(
            f"{app!r} is no name of an app: it has 1 to 64 letters, digits, dots, hyphens and underscores,"
            " and begins with a letter or a digit"
        )
    prefix = next(prefix for prefix, known in _PREFIXES.items() if known == kind)
    text = f"{prefix}_{app}_{secrets.token_urlsafe(_RANDOM_BYTES).replace('_', '-')}"
    return text, parse_key(text)


def parse_key(text: str) -> ApiKey:
    """The public part of a key's text; PermanentError where it has not a key's form."""
    prefix, _, rest = text.partition("_")
    app, _, random = rest.rpartition("_")
    if prefix not in _PREFIXES or not app or len(random) < _RANDOM_BYTES or len(text) > 256:
        raise PermanentError("this is no Kinstream key: it begins with kw_ or ks_ and its app")
    return ApiKey(app, _PREFIXES[prefix], sha256(text.encode()).hexdigest())
