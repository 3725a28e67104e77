"""How one upstream does: counts of requests, retries and failures, and how the last one went."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Vitals:
    """Counted while the process lives; for `/readyz` and `/metrics`."""

    attempts: int = 0
    """Requests that were sent, retries included."""
    retries: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """By HTTP status or by the word for what went wrong."""
    error: str | None = None
    """Why the last request got no answer, or one of 500 and above."""
    answered: bool = False

    def answers(self) -> None:
        """An answer came."""
        self.answered, self.error = True, None

    def fails(self, error: str) -> None:
        """None came, or one that says that the upstream is broken."""
        self.error = error

    def told(self) -> dict[str, Any]:
        """`state`: `unknown` before the first answer, `ok`, or `failing` with `error`; and the counts."""
        state = "failing" if self.error is not None else "ok" if self.answered else "unknown"
        return {
            "state": state,
            "error": self.error,
            "attempts": self.attempts,
            "retries": self.retries,
            "failures": dict(self.failures),
        }
