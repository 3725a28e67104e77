"""Injected calls shown to the client as `mcp_call` items, the API's own form of calls that a server runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from aibridge.dialects.responses.face import Face
from aibridge.dialects.responses.items import Item
from aibridge.dialects.responses.reading import Draft
from aibridge.nouns import Result, Tool
from aibridge.wire.json_text import ObjectText, dumps

Json = dict[str, Any]


def mcp_id(call: Item) -> str:
    """The id under which a call is shown: made of its own, so that it is known when it comes back."""
    own = str(call.get("id") or call.get("call_id") or "")
    return "mcp_" + own.removeprefix("fc_").removeprefix("call_")


def mcp_call(call: Item, tools: Mapping[str, Tool], result: Result | None) -> Json:
    """A call as the client sees it; `result` when there is one."""
    tool = tools.get(str(call.get("name")))
    server, _, name = str(call.get("name")).partition("__")
    failed = result is not None and result.status != "ok"
    return {
        "id": mcp_id(call),
        "type": "mcp_call",
        "status": "in_progress" if result is None else "failed" if failed else "completed",
        "approval_request_id": None,
        "arguments": call.get("arguments") or "",
        "error": _error(result.text) if result is not None and failed else None,
        "name": tool.own_name if tool else name,
        "output": None if result is None or failed else result.text,
        "server_label": tool.server if tool else server,
    }


def _error(text: str) -> Json:
    """What went wrong, in the API's form."""
    return {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": text}]}


class ShownCalls:
    """The injected calls of one answer, as events."""

    def __init__(self, face: Face, tools: Sequence[Tool]) -> None:
        self._face, self._tools = face, {tool.name: tool for tool in tools}
        self._open: list[Draft] = []
        self._told_arguments: set[str] = set()

    def show(self, draft: Draft, event: ObjectText) -> bytes:
        """What the client gets for an upstream event of an injected call."""
        shown = b"" if draft in self._open else self._begin(draft)
        kind = event.value.get("type")
        if kind == "response.function_call_arguments.delta":
            fields = {**self._at(draft), "delta": event.value.get("delta")}
            return shown + self._face.event("response.mcp_call_arguments.delta", fields)
        if kind in ("response.function_call_arguments.done", "response.output_item.done"):
            arguments = event.value.get("arguments", draft.value.get("arguments"))
            return shown + self._tell_arguments(draft, arguments)
        return shown

    def _begin(self, draft: Draft) -> bytes:
        self._open.append(draft)
        begun = {**mcp_call(draft.value, self._tools, None), "arguments": ""}
        added = {"output_index": self._face.place(draft), "item": begun}
        return self._face.event("response.output_item.added", added) + self._face.event(
            "response.mcp_call.in_progress", self._at(draft)
        )

    def _tell_arguments(self, draft: Draft, arguments: Any) -> bytes:
        item_id = mcp_id(draft.value)
        if item_id in self._told_arguments:
            return b""
        self._told_arguments.add(item_id)
        fields = {**self._at(draft), "arguments": arguments if isinstance(arguments, str) else ""}
        return self._face.event("response.mcp_call_arguments.done", fields)

    def settle(self, results: Mapping[str, Result]) -> bytes:
        """The calls that are open have their results, or get none any more; by call id."""
        events: list[bytes] = []
        for draft in self._open:
            none = Result(str(draft.value.get("call_id")), "Error: not run.", "refused", 0, 0)
            result = results.get(str(draft.value.get("call_id")), none)
            item = mcp_call(draft.value, self._tools, result)
            place = self._face.place(draft)
            self._face.items[place] = dumps(item)
            events += [
                self._tell_arguments(draft, item["arguments"]),
                self._face.event(f"response.mcp_call.{item['status']}", self._at(draft)),
                self._face.event("response.output_item.done", {"output_index": place, "item": item}),
            ]
        self._open = []
        return b"".join(events)

    def _at(self, draft: Draft) -> Json:
        return {"item_id": mcp_id(draft.value), "output_index": self._face.place(draft)}
