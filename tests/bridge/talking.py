"""A client that holds a conversation, and sends it back the way real clients do."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from aibridge.wire.json_text import ObjectText
from tests.bridge.saying import Turn, replies, tool
from tests.bridge.stage import Seen, Stage, Upstream

Json = dict[str, Any]
OWN_TOOL = "read_file"
STYLES: Mapping[str, Callable[[Json], Json]] = {
    "as it came": lambda message: message,
    "in parts": lambda message: _with_content(message, _in_parts),
    "trimmed": lambda message: _with_content(message, str.strip),
    "trimmed, null": lambda message: {**message, "content": (message["content"] or "").strip() or None},
    "empty, not null": lambda message: {**message, "content": message["content"] or ""},
    "arguments written anew": lambda message: _with_arguments(message, (",", ":")),
    "arguments written by Python": lambda message: _with_arguments(message, (", ", ": ")),
}
"""How clients change an assistant message before they send it back."""


def _in_parts(text: str) -> list[Json]:
    return [{"type": "text", "text": text}]


def _with_content(message: Json, change: Callable[[str], Any]) -> Json:
    return {**message, "content": change(message["content"]) if message["content"] else None}


def _with_arguments(message: Json, separators: tuple[str, str]) -> Json:
    calls = []
    for call in message.get("tool_calls", ()):
        value = json.loads(call["function"]["arguments"] or "{}")
        text = json.dumps(value, separators=separators, ensure_ascii=False)
        calls.append({**call, "function": {**call["function"], "arguments": text}})
    return {**message, "tool_calls": calls} if calls else message


def answer_of(seen: Seen) -> Json:
    """The assistant message that a client makes of a response."""
    if not seen.headers["content-type"].startswith("text/event-stream"):
        message = seen.json["choices"][0]["message"]
        kept = {"role": "assistant", "content": message["content"]}
        return {**kept, "tool_calls": message["tool_calls"]} if message.get("tool_calls") else kept
    text, calls = "", dict[int, Json]()
    for choice in (choice for chunk in seen.chunks for choice in chunk["choices"]):
        text += choice["delta"].get("content") or ""
        for piece in choice["delta"].get("tool_calls") or ():
            if piece.get("id"):
                calls[piece["index"]] = {
                    "id": piece["id"],
                    "type": "function",
                    "function": {"name": piece["function"]["name"], "arguments": ""},
                }
            calls[piece["index"]]["function"]["arguments"] += piece["function"].get("arguments") or ""
    message = {"role": "assistant", "content": text or None}
    return {**message, "tool_calls": list(calls.values())} if calls else message


@dataclass(slots=True)
class Talk:
    """One client's conversation with the bridge."""

    stage: Stage
    style: str = "as it came"
    body: Json = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    messages: list[Json] = field(default_factory=list)
    streamed: bool = True

    async def hears(self, *turns: Turn, user: str | None = "What time is it?") -> Seen:
        """Ask, hear these turns, and note the answer; the client answers its calls at once."""
        if user is not None and (not self.messages or self.messages[-1]["role"] != "tool"):
            self.messages.append({"role": "user", "content": user})
        seen = await self.asks(Upstream(replies(*turns, streamed=self.streamed)))
        said = STYLES[self.style](answer_of(seen))
        self.messages.append(said)
        for call in said.get("tool_calls", ()):
            content = f"result of {call['id']}"
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
        return seen

    async def asks(self, upstream: Upstream, **how: Any) -> Seen:
        """Ask with the messages as they are."""
        body = {"model": "m-1", "messages": self.messages, "tools": [tool(OWN_TOOL)], **self.body}
        if self.streamed:
            body["stream"] = True
        return await self.stage.ask(body, upstream, headers=self.headers, **how)


def texts_of(body: bytes) -> tuple[str, str]:
    """The texts of messages, without the closing bracket, and tools of a request."""
    source = ObjectText.read(body)
    return source.source("messages").rstrip().removesuffix("]").rstrip(), source.source("tools")


def assert_grows(asked: Sequence[bytes]) -> None:
    """Each request has the messages of the one before it as the beginning of its own, and the same tools."""
    texts = [texts_of(body) for body in asked]
    for (earlier, tools), (later, same_tools) in pairwise(texts):
        assert later.startswith(earlier)
        assert tools == same_tools
