"""Items of the input as messages: what one turn said is one assistant message, its outputs follow at once.

Chat servers want every call answered right after it, so outputs are put behind their calls wherever the
client has them. What the upstream wants back (see `thoughts`) is put into the message that it came with.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aibridge.dialects.chat_completions.history import limited
from aibridge.dialects.translating.responses_to_chat import thoughts
from aibridge.dialects.translating.responses_to_chat.content import Part, content, split, text
from aibridge.dialects.translating.responses_to_chat.refusing import cannot, wrong
from aibridge.dialects.translating.responses_to_chat.tools import Tools, custom_arguments
from aibridge.nouns import SendBack
from aibridge.wire.json_text import dumps

Item = Mapping[str, Any]
SYSTEM = frozenset({"system", "developer"})
OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
TOLD_ELSEWHERE = frozenset({"web_search_call", "image_generation_call", "mcp_list_tools"})
"""Items that say what a server did by itself; what came of it is in the answer's text, or in `tools`."""
PARAM = "input"
BETWEEN = "\n\n"


class Messages:
    """Grows with the items."""

    def __init__(self, tools: Tools, items: Sequence[Item], send_back: SendBack) -> None:
        self.left_out: list[str] = []
        self._tools, self._send_back = tools, send_back
        self._done: list[dict[str, Any]] = []
        self._turn: _Turn | None = None
        self._outputs: dict[str, list[Item]] = {}
        for item in items:
            if kind_of(item) in OUTPUTS:
                self._outputs.setdefault(str(item.get("call_id")), []).append(item)
        self._called: set[str] = set()

    @property
    def call_ids(self) -> frozenset[str]:
        """Ids of all calls."""
        return frozenset(self._called)

    def all(self) -> list[dict[str, Any]]:
        """The messages; leading system texts are one, since many templates take no second.

        Raises BridgeError (400) where a call has two outputs.
        """
        self._close()
        if self._outputs:
            raise wrong(f"the call {next(iter(self._outputs))} has more than one output", PARAM)
        leading = 0
        while leading < len(self._done) and self._done[leading]["role"] == "system":
            leading += 1
        if leading < 2:
            return self._done
        joined = BETWEEN.join(message["content"] for message in self._done[:leading])
        return [{"role": "system", "content": joined}, *self._done[leading:]]

    def say(self, role: str, value: Any) -> None:
        """A message of the user or the system."""
        self._close()
        if role in SYSTEM:
            said = content(value, PARAM)
            if not isinstance(said, str):
                raise cannot(f"what is no text in an item of the role `{role}`", PARAM)
            self._done.append({"role": "system", "content": said})
        else:
            self._done.append({"role": "user", "content": content(value, PARAM)})

    def add(self, item: Any) -> None:
        """Raises BridgeError (400) that names what cannot be translated."""
        if not isinstance(item, dict):
            raise wrong("an item of `input` has to be an object", PARAM)
        kind, role = kind_of(item), item.get("role")
        if kind == "message" and role in (*SYSTEM, "user"):
            self.say(role, item.get("content"))
        elif kind == "message" and role == "assistant":
            self._open().says(text(item.get("content"), PARAM))
        elif kind == "reasoning":
            self._reason(item)
        elif kind in ("function_call", "custom_tool_call", "mcp_call"):
            self._call(kind, item)
        elif kind in OUTPUTS:
            self._output(item)
        elif kind in TOLD_ELSEWHERE:
            self.left_out.append(kind)
        else:
            raise cannot(f"an item `{kind or role}`", PARAM)

    def _reason(self, item: Item) -> None:
        found = thoughts.opened(item.get("encrypted_content"))
        if found is not None:
            self._open().thinks(*found)
        elif item.get("encrypted_content"):
            self.left_out.append("reasoning of another upstream")
        elif said := text(item.get("content"), PARAM) or text(item.get("summary"), PARAM):
            self._open().thinks({"reasoning_content": said}, {})

    def _call(self, kind: str, item: Item) -> None:
        call_id = item.get("id" if kind == "mcp_call" else "call_id")
        name = item.get("name")
        if not isinstance(call_id, str) or not isinstance(name, str):
            raise wrong(f"an item `{kind}` has no `call_id` or no `name`", PARAM)
        arguments = item.get("arguments") or "{}"
        if kind == "custom_tool_call":
            arguments = custom_arguments(item.get("input"))
        space = item.get("server_label" if kind == "mcp_call" else "namespace")
        self._called.add(call_id)
        function = {"name": self._tools.name_of(name, space), "arguments": arguments}
        self._open().calls.append({"id": call_id, "type": "function", "function": function})
        if kind == "mcp_call":
            told = item.get("output") or item.get("error") or ""
            self._outputs.setdefault(call_id, []).insert(
                0, {"output": told if isinstance(told, str) else dumps(told)}
            )

    def _output(self, item: Item) -> None:
        call_id = item.get("call_id")
        if call_id not in self._called:
            raise wrong(f"No tool call found for {kind_of(item)} with call_id {call_id}.", PARAM)
        self._close()

    def _open(self) -> "_Turn":
        if self._turn is None:
            self._turn = _Turn()
        return self._turn

    def _close(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None or not (turn.texts or turn.calls or turn.fields):
            return
        self._done.append(dict(limited(turn.message(), self._send_back)))
        beside: list[Part] = []
        for call in turn.calls:
            output = self._take_output(call["id"])
            if output is None:
                continue
            said, parts = split(output.get("output", ""), PARAM)
            self._done.append({"role": "tool", "tool_call_id": call["id"], "content": said})
            if parts:
                beside += [{"type": "text", "text": f"Output of the call {call['id']}:"}, *parts]
        if beside:  # a tool message can hold no image
            self._done.append({"role": "user", "content": beside})

    def _take_output(self, call_id: str) -> Item | None:
        """The next output for `call_id`: some providers give the same ids in every turn."""
        outputs = self._outputs.get(call_id, [])
        output = outputs.pop(0) if outputs else None
        if not outputs:
            self._outputs.pop(call_id, None)
        return output


class _Turn:
    """What the model said in one turn."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.fields: dict[str, Any] = {}
        self._of_calls: dict[str, dict[str, Any]] = {}

    def says(self, said: str) -> None:
        if said:
            self.texts.append(said)

    def thinks(self, fields: Mapping[str, Any], calls: Mapping[str, dict[str, Any]]) -> None:
        for key, value in fields.items():
            old = self.fields.get(key)
            joined = isinstance(old, str) and isinstance(value, str)
            self.fields[key] = f"{old}{value}" if joined else value
        self._of_calls.update(calls)

    def message(self) -> dict[str, Any]:
        said = BETWEEN.join(self.texts)
        fields = {key: value for key, value in self.fields.items() if key != "content"}
        thinking = self.fields.get("content")  # Mistral's thinking is a part of the content
        parts = [*thinking, *([{"type": "text", "text": said}] if said else [])] if thinking else said or None
        calls = [_with(call, self._of_calls.get(call["id"], {})) for call in self.calls]
        message = {"role": "assistant", "content": parts, **fields}
        return {**message, "tool_calls": calls} if calls else message


def _with(call: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, **call, "function": {**fields.get("function", {}), **call["function"]}}


def kind_of(item: Any) -> str:
    """The item's type; a message may leave it out."""
    kind = item.get("type") if isinstance(item, dict) else None
    return kind if isinstance(kind, str) else "message" if isinstance(item, dict) and "role" in item else ""
