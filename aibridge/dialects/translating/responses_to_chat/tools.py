"""Tools and the choice among them: custom tools become functions of one string, namespaces longer names.

A chat upstream knows functions alone. The names are made so that a call can be turned back into the item
that its client waits for. Built-in tools of a server cannot be had: `web_search` and `image_generation`,
which a model may use at will, are left out and told; any other, and a choice that forces one, is refused.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aibridge.dialects.translating.responses_to_chat.refusing import cannot, wrong
from aibridge.wire.json_text import dumps

Json = Mapping[str, Any]
AT_WILL = re.compile(r"web_search(_preview)?(_\d{4}_\d{2}_\d{2}|_\d{4}_\d{2}|_\d+)*|image_generation")
LONGEST_NAME = 64
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
INPUT = "input"
"""The one argument of a custom tool."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a function of the upstream's is to the client."""

    name: str
    namespace: str | None = None
    custom: bool = False


@dataclass(slots=True)
class Tools:
    """The tools of a request, as functions, with the way back."""

    functions: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _origins: dict[str, Origin] = field(default_factory=dict)
    _names: dict[tuple[str | None, str], str] = field(default_factory=dict)

    @classmethod
    def read(cls, tools: Any) -> "Tools":
        """Raises BridgeError (400) that names a tool which a chat upstream cannot have."""
        own = cls()
        if not isinstance(tools, list | None):
            raise wrong("`tools` has to be a list", "tools")
        for tool in tools or ():
            own._add(tool, None)
        return own

    def _add(self, tool: Any, namespace: str | None) -> None:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind == "namespace" and namespace is None and isinstance(tool.get("tools"), list):
            for inner in tool["tools"]:
                self._add(inner, _name_of(tool))
        elif kind in ("function", "custom"):
            name = self._function_name(_name_of(tool), namespace)
            self._origins[name] = Origin(_name_of(tool), namespace, kind == "custom")
            make = _custom if kind == "custom" else _function
            self.functions.append({"type": "function", "function": make(tool, name)})
        elif isinstance(kind, str) and AT_WILL.fullmatch(kind):
            self.left_out.append(kind)
        else:
            raise cannot(f"the tool `{kind}`", "tools")

    def _function_name(self, name: str, namespace: str | None) -> str:
        """A name that chat upstreams take, the same for the same tool, and no other tool's."""
        wanted = NOT_IN_NAMES.sub("_", f"{namespace}__{name}" if namespace else name)
        taken = wanted in self._origins and self._origins[wanted] != Origin(name, namespace)
        if len(wanted) > LONGEST_NAME or taken or (namespace is None and wanted != name):
            digest = hashlib.sha256(f"{namespace}\n{name}".encode()).hexdigest()[:8]
            wanted = f"{wanted[: LONGEST_NAME - 9]}_{digest}"
        self._names[namespace, name] = wanted
        return wanted

    def name_of(self, name: str, namespace: Any) -> str:
        """The function's name for a tool of the client's, also for one that is in the history alone."""
        space = namespace if isinstance(namespace, str) and namespace else None
        known = self._names.get((space, name))
        return known or NOT_IN_NAMES.sub("_", f"{space}__{name}" if space else name)[:LONGEST_NAME]

    def origin(self, function: str) -> Origin:
        """The client's tool; for a name that the model made up, a function of that name."""
        return self._origins.get(function) or Origin(function)

    @property
    def names(self) -> frozenset[str]:
        """The functions' names."""
        return frozenset(self._origins)

    def chosen(self, choice: Any) -> dict[str, Any]:
        """`tools` and `tool_choice` of the translated request.

        `allowed_tools` sends the allowed ones alone, because few upstreams know that form. Raises BridgeError
        (400) where the choice forces a tool that the upstream cannot have.
        """
        functions: Sequence[Json] = self.functions
        if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
            allowed = frozenset(self._allowed(choice.get("tools")))
            functions = [each for each in functions if each["function"]["name"] in allowed]
            choice = choice.get("mode") or "auto"
        if isinstance(choice, dict):
            choice = self._named(choice)
        if not functions:
            if choice in (None, "auto", "none"):
                return {}
            raise cannot(
                "a `tool_choice` that forces a tool, where the upstream can have none", "tool_choice"
            )
        return {"tools": list(functions), **({} if choice is None else {"tool_choice": choice})}

    def _named(self, choice: Json) -> Json:
        kind, name = choice.get("type"), choice.get("name")
        if kind not in ("function", "custom"):
            raise cannot(f"the `tool_choice` of `{kind}`", "tool_choice")
        if not isinstance(name, str):
            raise wrong("`tool_choice` has no `name`", "tool_choice")
        return {"type": "function", "function": {"name": self.name_of(name, choice.get("namespace"))}}

    def _allowed(self, tools: Any) -> Iterator[str]:
        for tool in tools if isinstance(tools, list) else ():
            kind, name = (tool.get("type"), tool.get("name")) if isinstance(tool, dict) else (None, None)
            if kind == "namespace":
                yield from (each for (space, _), each in self._names.items() if space == name)
            elif isinstance(name, str):
                yield self.name_of(name, tool.get("namespace"))


def _name_of(tool: Json) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise wrong("a tool in `tools` has no `name`", "tools")
    return name


def _function(tool: Json, name: str) -> dict[str, Any]:
    own = {key: tool[key] for key in ("description", "parameters") if tool.get(key) is not None}
    strict = {"strict": True} if tool.get("strict") is True else {}  # false is the default here
    return {"name": name, **own, **strict}


def _custom(tool: Json, name: str) -> dict[str, Any]:
    """A function of one string; the grammar that it has to follow can only be told."""
    form = tool.get("format")
    rule = ""
    if isinstance(form, dict) and form.get("type") == "grammar":
        rule = f"The input has to match this {form.get('syntax', '')} grammar:\n{form.get('definition', '')}"
    text = {"type": "string", "description": "The whole input of the tool, as plain text."}
    schema = {"type": "object", "properties": {INPUT: text}, "required": [INPUT]}
    description = "\n\n".join(filter(None, [tool.get("description"), rule]))
    return {
        "name": name,
        **({"description": description} if description else {}),
        "parameters": {**schema, "additionalProperties": False},
    }


def custom_arguments(text: Any) -> str:
    """The input of a custom call as the function's arguments."""
    return dumps({INPUT: text if isinstance(text, str) else ""})
