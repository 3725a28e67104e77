"""What the scripted model answers to a request: its messages, tools and `tool_choice` → a reply. Pure.

It takes part as a model would: it calls only what was offered and allowed, it goes on where the
messages left off, and it quotes the results. The script itself is read by `rules`.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from aibridge.demo.rules import Round, Script, read_script

Json = dict[str, Any]
_PIECE = re.compile(r"\S+\s*|\s+")
_QUOTED = 2000
"""Characters of a message or tool result that an answer quotes."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model makes."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn of the model, and how it is to be sent."""

    digest: str
    """Equal for equal messages, so that ids are unique in a conversation and yet the same every time."""
    round: int
    pieces: tuple[str, ...]
    reasoning: tuple[str, ...]
    calls: tuple[ToolCall, ...]
    finish_reason: str
    plan: Round

    @property
    def text(self) -> str:
        """What the model says."""
        return "".join(self.pieces)


def reply_to(body: Json) -> Reply:
    """The model's turn for a valid request."""
    messages: list[Json] = body["messages"]
    said, since = _last_user(messages)
    script, number = read_script(said), 1 + sum(1 for each in since if each.get("tool_calls"))
    plan = script.at(number)
    digest = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()
    calls, missing = _calls(body, plan, digest)
    pieces = _pieces(body, plan, _text(plan, calls, missing, script, said, since))
    thoughts = f"Round {number}: I do what the script says. " if plan.reasons else ""
    return Reply(
        digest=digest,
        round=number,
        pieces=pieces,
        reasoning=tuple(_PIECE.findall(thoughts)),
        calls=calls,
        finish_reason="tool_calls" if calls and _forced(body) is None else "stop",
        plan=plan,
    )


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or its text parts."""
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _last_user(messages: list[Json]) -> tuple[str, list[Json]]:
    """The last user message's text, and the messages after it."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at]["role"] == "user":
            return text_of(messages[at].get("content")), messages[at + 1 :]
    return "", []


def _calls(body: Json, plan: Round, digest: str) -> tuple[tuple[ToolCall, ...], list[str]]:
    """The calls that may be made, and the names that were not offered."""
    offered = [tool["function"]["name"] for tool in body.get("tools") or () if tool["type"] == "function"]
    choice, forced = body.get("tool_choice"), _forced(body)
    if choice == "none":
        return (), []
    wanted = [(call.name, _offered_name(call.name, offered), call.arguments) for call in plan.calls]
    missing = [name for name, found, _ in wanted if found is None]
    calls = [(found, arguments) for _, found, arguments in wanted if found and forced in (None, found)]
    if not calls and (forced or (choice == "required" and offered)):
        calls = [(forced or offered[0], "{}")]
    made = (
        ToolCall(f"call_{digest[:20]}{at:02}", name, arguments) for at, (name, arguments) in enumerate(calls)
    )
    return tuple(made), missing


def _forced(body: Json) -> str | None:
    """The one tool that `tool_choice` names; OpenAI then finishes with `stop`."""
    match body.get("tool_choice"):
        case {"type": "function", "function": {"name": str(name)}}:
            return name
    return None


def _offered_name(name: str, offered: list[str]) -> str | None:
    if name in offered:
        return name
    return min((each for each in offered if each.endswith(f"__{name}")), default=None)


def _text(
    plan: Round,
    calls: tuple[ToolCall, ...],
    missing: list[str],
    script: Script,
    said: str,
    since: list[Json],
) -> str:
    absent = " ".join(f"No tool named {name} was offered." for name in missing)
    if plan.text is not None or absent:
        return " ".join(part for part in (plan.text, absent) if part)
    if calls:
        return ""
    return _results(since) or f"You said: {said[:_QUOTED]}"


def _results(since: list[Json]) -> str:
    """Every tool result since the user's message; names without a prefix, as the user knows them."""
    names = {call["id"]: _bare(call) for each in since for call in each.get("tool_calls") or ()}
    told = ((names.get(each["tool_call_id"]), each) for each in since if each["role"] == "tool")
    return "\n".join(f"{name} answered: {text_of(each.get('content'))[:_QUOTED]}" for name, each in told)


def _bare(call: Json) -> str:
    name: str = call.get("function", {}).get("name", "tool")
    return name.rpartition("__")[2]


def _pieces(body: Json, plan: Round, text: str) -> tuple[str, ...]:
    if plan.pieces is not None:
        return tuple(plan.pieces)
    if (body.get("response_format") or {}).get("type") in ("json_object", "json_schema") and text:
        text = json.dumps({"answer": text})
    return tuple(_PIECE.findall(text))
