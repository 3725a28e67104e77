"""What a response object echoes of its request, as the client asked it: tools, choice, references."""

from collections.abc import Callable, Mapping

from aibridge.wire.json_text import ObjectText, item_spans, replace_items

IDENTITY = ("id", "created_at", "model", "previous_response_id", "tools", "tool_choice")
"""Of the first round's response object, for all that follow."""


class Echo:
    """The request's part in response objects."""

    def __init__(
        self, injected: frozenset[str], asked: Mapping[str, str], brought: Callable[[], str]
    ) -> None:
        """`asked`: fields that were changed on their way upstream, as the client's JSON texts.

        `brought` gives the request's own items, as a JSON array.
        """
        self._injected, self._asked = injected, asked
        self.brought = brought

    def changes(self, response: ObjectText) -> dict[str, str]:
        """What of `response` the client has to see otherwise."""
        asked = self._asked.items()
        changes = {key: text for key, text in asked if response.value.get(key) is not None}
        tools = response.value.get("tools")
        if self._injected and isinstance(tools, list):
            ours = [at for at, tool in enumerate(tools) if self._is_ours(tool)]
            if ours:
                changes["tools"] = _without(response.source("tools"), ours)
        return changes

    def _is_ours(self, tool: object) -> bool:
        return (
            isinstance(tool, dict) and tool.get("type") == "function" and tool.get("name") in self._injected
        )

    @staticmethod
    def identity(opening: ObjectText) -> dict[str, str]:
        """The fields that all response objects of an answer share, from the first of them."""
        return {key: opening.source(key) for key in IDENTITY if key in opening.value}


def _without(array: str, places: list[int]) -> str:
    if len(places) == len(item_spans(array)):
        return "[]"
    return replace_items(array, dict.fromkeys(places, ()))
