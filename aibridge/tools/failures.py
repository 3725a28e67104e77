"""How a connection or a call can fail: a sentence that is fit for the model, the log and `/readyz`.

Foreign exceptions become these where mcp is called (`session.py`, `troubles.py`); nothing here holds a URL
or a secret.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aibridge.nouns import CallStatus

LONGEST = 300
ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
SHORTEST_SECRET = 8
"""Characters; shorter values (`UTC`, `true`) are no secrets, and masking them would garble the log."""


@dataclass
class ConnectFailed(Exception):
    """The server cannot be reached, or its tools cannot be listed."""

    sentence: str

    def __str__(self) -> str:
        return self.sentence


@dataclass
class CallFailed(Exception):
    """The call has no result; it may have been carried out."""

    status: CallStatus
    sentence: str

    def __str__(self) -> str:
        return self.sentence


class NotRun(CallFailed):
    """The call never reached the tool; it may be sent again once the server is back."""


def masking(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces every one of `secrets`, and the token in a `Bearer token`, by `***`."""
    words = {word for secret in secrets for word in (secret, *secret.split())}
    long_first = sorted((word for word in words if len(word) >= SHORTEST_SECRET), key=len, reverse=True)
    if not long_first:
        return str
    pattern = re.compile("|".join(map(re.escape, long_first)))
    return lambda text: pattern.sub("***", text)


def one_sentence(text: str) -> str:
    """`text` of a foreign error on one line, without addresses, at most 300 characters."""
    line = " ".join(ADDRESS.sub("(address)", text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
