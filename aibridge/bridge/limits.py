"""When an exchange stops running tools: rounds, calls, time, and rounds that only repeat each other.

A cap is no error: the calls that wait get a result that says so, and one last round answers.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from aibridge.dialects.base import Turn
from aibridge.nouns import Call, Result

EQUAL_ROUNDS = 3
"""Consecutive rounds with equal calls and equal results after which more would not help."""
APOLOGY = "I could not finish: the limit of tool calls for one request was reached."
"""What the client reads where a model says nothing at all in its last round."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps of the configuration; `deadline` in seconds."""

    max_rounds: int = 10
    max_tool_calls: int = 30
    deadline: float = 600.0


@dataclass(slots=True)
class Progress:
    """How far an exchange is, against its limits."""

    limits: Limits
    began: float = field(default_factory=time.monotonic)
    reached: str | None = None
    """The cap that was reached, as the record names it."""
    _rounds: int = 0
    _calls: int = 0
    _equal: int = 1
    _last: tuple[object, ...] = ()

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.began + self.limits.deadline - time.monotonic()

    def allowed(self, calls: Sequence[Call]) -> int:
        """How many of a turn's injected calls may run; notes the cap where it is not all."""
        self._rounds += 1
        room = self.limits.max_tool_calls - self._calls
        if self._rounds >= self.limits.max_rounds:
            self.reached, room = "max_rounds", 0
        elif self.seconds_left <= 0:
            self.reached, room = "deadline", 0
        elif room < len(calls):
            self.reached = "max_tool_calls"
        taken = min(len(calls), max(0, room))
        self._calls += taken
        return taken

    def repeats(self, turn: Turn, results: Sequence[Result]) -> None:
        """Note a round's calls and results; the third equal one in a row is a cap."""
        said = [(call.name, call.arguments) for call in turn.injected_calls]
        this = (*said, *(result.text for result in results))
        self._equal = self._equal + 1 if this == self._last else 1
        self._last = this
        if self._equal >= EQUAL_ROUNDS and self.reached is None:
            self.reached = "repetition"

    def refusal(self, call: Call) -> Result:
        """The result of a call that may not run any more."""
        cap = {
            "max_rounds": f"{self.limits.max_rounds} rounds",
            "max_tool_calls": f"{self.limits.max_tool_calls} tool calls",
            "deadline": f"{self.limits.deadline:g} seconds",
        }.get(self.reached or "", "tool calls")
        text = f"Error: not run, the limit of {cap} for one request is reached; answer with what is known."
        return Result(call.id, text, "refused", time.time(), 0, f"the cap {self.reached} was reached")
