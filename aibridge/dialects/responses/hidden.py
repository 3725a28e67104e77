"""What the rounds of an exchange append to its request: the items of hidden turns, and their outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

from aibridge.dialects.base import Turn
from aibridge.dialects.responses.items import said_in
from aibridge.nouns import Result
from aibridge.wire.json_text import dumps, loads


@dataclass(frozen=True, slots=True)
class Hidden:
    """What the rounds of this exchange appended."""

    items: tuple[str, ...] = ()
    told: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Of each turn the texts of its messages, with their ids."""
    called: frozenset[str] = frozenset()

    @property
    def turns(self) -> int:
        """How many hidden turns there are."""
        return len(self.told)

    def grown(self, items: Sequence[str], turn: Turn) -> "Hidden":
        """With the items of a further turn and its results."""
        called = self.called | {call.name for call in turn.injected_calls}
        return Hidden((*self.items, *items), (*self.told, texts_of(turn)), called)


def texts_of(turn: Turn) -> tuple[tuple[str, str], ...]:
    """The texts of a turn's messages, with their ids."""
    items = [loads(text) for text in turn.message()]
    return tuple((said_in(item), str(item.get("id"))) for item in items if said_in(item))


def outputs_of(results: Sequence[Result]) -> list[tuple[str, str]]:
    """The results as items, by call id."""
    items = [
        {"type": "function_call_output", "call_id": each.call_id, "output": each.text} for each in results
    ]
    return [(each["call_id"], dumps(each)) for each in items]
