"""The text of a key: `sk-aib-ID-SECRET`. The id finds the key, the secret proves it. Pure but for chance.

What is kept is a plain SHA-256: the secret has 256 random bits, which nobody can try out, so a slow hash
would only make each request slow.
"""

import hashlib
import hmac
import secrets
from typing import NamedTuple

BEGIN = "sk-aib-"
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""Without those that people take for one another."""
ID_LETTERS = 12
SECRET_BYTES = 32
LONGEST = 200


class Minted(NamedTuple):
    """A key that was made: its text is shown once, its hash kept."""

    text: str
    hash: str


def new_id() -> str:
    """An id for a key; it is no secret."""
    return "".join(secrets.choice(LETTERS) for _ in range(ID_LETTERS))


def mint(key_id: str) -> Minted:
    """A new key for `key_id`."""
    text = f"{BEGIN}{key_id}-{secrets.token_hex(SECRET_BYTES)}"
    return Minted(text, digest(text))


def id_in(text: str) -> str | None:
    """The id in the text of a key; None where it is none."""
    if not text.startswith(BEGIN) or len(text) > LONGEST:
        return None
    return text[len(BEGIN) :].partition("-")[0] or None


def digest(text: str) -> str:
    """What is kept of a key's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def proves(text: str, kept: str) -> bool:
    """Whether `text` is the key of which `kept` was kept; takes the same time whatever differs."""
    return hmac.compare_digest(digest(text), kept)
