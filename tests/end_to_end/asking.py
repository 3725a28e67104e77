"""One question to the Chat Completions API and what a client makes of the answer, whichever client it is.

A way of asking is a function from `Question` to `Answer`, or `Failed` where the client raised.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """What a client is told to ask, and where."""

    base_url: str
    body: Json


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client understood."""

    message: Json
    """The assistant message, as this client sends it back."""
    finish_reason: str | None
    usage: Json | None
    chunks: list[Json] = field(default_factory=list)
    """Every chunk, where the client hands them out; the whole completion where it does not stream."""

    @property
    def text(self) -> str:
        """What the model said."""
        return self.message.get("content") or ""

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Names and arguments of the calls that the client is to run."""
        functions = (call["function"] for call in self.message.get("tool_calls") or ())
        return [(function["name"], function["arguments"]) for function in functions]


@dataclass(frozen=True, slots=True)
class Failed:
    """What the client raised."""

    kind: str
    """The class of the exception."""
    message: str
    status: int | None = None
    body: Any = None
    headers: Json = field(default_factory=dict)


Outcome = Answer | Failed
Ask = Callable[[Question], Outcome]


def fold(chunks: list[Json]) -> Answer:
    """What a plain loop over a stream makes of its chunks."""
    message: Json = {"role": "assistant", "content": None}
    calls: dict[int, Json] = {}
    finish_reason, usage = None, None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            delta = choice["delta"]
            finish_reason = choice.get("finish_reason") or finish_reason
            if delta.get("content"):
                message["content"] = (message["content"] or "") + delta["content"]
            for piece in delta.get("tool_calls") or ():
                _fold_call(calls, piece)
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return Answer(message, finish_reason, usage, chunks)


def _fold_call(calls: dict[int, Json], piece: Json) -> None:
    given = piece.get("function") or {}
    call = calls.setdefault(
        piece["index"],
        {"id": piece.get("id"), "type": "function", "function": {"name": "", "arguments": ""}},
    )
    call["function"]["name"] += given.get("name") or ""
    call["function"]["arguments"] += given.get("arguments") or ""
