"""Event types from the names that other protocols give to events. Pure; the same name, the same type.

Where two clients name the same thing in their own ways ("Content Viewed", "contentViewed",
"content_viewed"), they mean one native type, `content.viewed`, and are counted together.
"""

import re
import unicodedata
from hashlib import sha256

CUSTOMER_ALIASED = "customer.aliased"
CUSTOMER_IDENTIFIED = "customer.identified"
GROUP_IDENTIFIED = "group.identified"
GROUP_JOINED = "group.joined"
PAGE_VIEWED = "page.viewed"
SCREEN_VIEWED = "screen.viewed"

MAX_TYPE_CHARACTERS = 64
_HASH_CHARACTERS = 8
_MAX_NAME_CHARACTERS = 200
"""Of a name that is read, before and after it is taken apart; what comes behind tells only the hash."""

_NATIVE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+")
_NO_WORD = re.compile(r"[^A-Za-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def event_type(name: str, default_noun: str = "event") -> str:
    """The native type, `noun.past_verb`, of an event's name in another protocol.

    A native type stays as it is. Else the name is cut into words, where letter case changes and at all
    that is no letter or digit; the last word is the verb, the others joined by `_` are the noun, and a
    single word is the verb of `default_noun`, which is in the form of a native noun. Accents are
    dropped. A name with letters that a type cannot hold, or one too long, ends with part of its
    SHA-256, so that two such names stay two types.
    """
    if len(name) <= MAX_TYPE_CHARACTERS and _NATIVE.fullmatch(name):
        return name
    # One letter may become eighteen.
    decomposed = unicodedata.normalize("NFKD", name[:_MAX_NAME_CHARACTERS])
    is_whole = max(len(name), len(decomposed)) <= _MAX_NAME_CHARACTERS
    plain = _without_accents(decomposed[:_MAX_NAME_CHARACTERS])
    words = [word.lower() for part in _NO_WORD.split(plain) for word in _CAMEL.split(part) if word]
    if any(character.isalnum() and not character.isascii() for character in plain) or not words:
        words[-1:] = ["_".join([*words[-1:], _hash(name)])]
    *noun, verb = words
    joined = "_".join(noun) or default_noun
    if not joined[0].isalpha():
        joined = f"{default_noun}_{joined}"
    found = f"{joined}.{verb}"
    if is_whole and len(found) <= MAX_TYPE_CHARACTERS:
        return found
    kept = found[: MAX_TYPE_CHARACTERS - _HASH_CHARACTERS - 1]
    return f"{kept}{'_' if '.' in kept else '.'}{_hash(name)}"


def _without_accents(decomposed: str) -> str:
    if decomposed.isascii():
        return decomposed
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _hash(name: str) -> str:
    return sha256(name.encode(errors="surrogatepass")).hexdigest()[:_HASH_CHARACTERS]
