"""Which tools are injected under which names, and why others are not: a snapshot that never changes.

Pure. Gets the tools that the servers listed and each server's allow and deny patterns; what a caller or
the header `x-aibridge-tools` wants narrows it further. How lists are got is left to `server.py`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from aibridge.nouns import Tool
from aibridge.tools.naming import SEPARATOR, injected_name

CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb for English and JSON; an estimate, never billed."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A tool as its server lists it."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    needs_task: bool = False
    """The tool can only be run as an MCP task, which a model's call is not."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Patterns over a server's own tool names; `deny` wins."""

    allow: Sequence[str] = ("*",)
    deny: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of one tool of one server: either `name` or `reason` is given."""

    server: str
    tool: str
    name: str | None
    """The name it is injected under."""
    reason: str | None
    """Why it is left out, as the end of "It is left out because …"."""
    tokens: int
    """Estimated tokens of its definition in a request."""


class Catalog:
    """The tools of all servers at one moment."""

    def __init__(self, listed: Mapping[str, Sequence[Definition]], rules: Mapping[str, Rules]) -> None:
        judged = list(_judge(listed, rules))
        self._judged = judged
        self._tools = tuple(sorted((tool for tool, reason in judged if reason is None), key=_name))

    def offer(self, wanted: str | None = None) -> tuple[Tool, ...]:
        """The tools to inject, sorted by name.

        `wanted` is a comma list of servers, tools (`server__tool`) or patterns of either; None is all of
        them, an empty list none.
        """
        if wanted is None:
            return self._tools
        patterns = _patterns(wanted)
        return tuple(tool for tool in self._tools if _is_wanted(tool, patterns))

    def explain(self, wanted: str | None = None) -> tuple[Explanation, ...]:
        """What becomes of every tool of every server, in the servers' own order."""
        patterns = None if wanted is None else _patterns(wanted)
        return tuple(_explanation(tool, reason, patterns) for tool, reason in self._judged)

    def count(self, server: str) -> int:
        """How many tools of `server` are injected."""
        return sum(tool.server == server for tool in self._tools)


def _judge(
    listed: Mapping[str, Sequence[Definition]], rules: Mapping[str, Rules]
) -> Iterator[tuple[Tool, str | None]]:
    """Every tool with the reason for which it is left out, if there is one."""
    taken: set[str] = set()
    for server, definitions in listed.items():
        for definition in definitions:
            tool = _tool(server, definition)
            reason = _objection(definition, rules.get(server, Rules()))
            if reason is None and tool.name in taken:
                reason = f"another tool already has the name {tool.name}"
            if reason is None:
                taken.add(tool.name)
            yield tool, reason


def _objection(definition: Definition, rules: Rules) -> str | None:
    if pattern := _matching(definition.name, rules.deny):
        return f"`deny` holds {pattern!r}"
    if not _matching(definition.name, rules.allow):
        return "no pattern in `allow` matches it"
    return "it can only be run as a task" if definition.needs_task else None


def _matching(name: str, patterns: Sequence[str]) -> str | None:
    return next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)


def _tool(server: str, definition: Definition) -> Tool:
    schema = definition.input_schema
    if schema.get("type", "object") == "object" and "properties" not in schema:
        # OpenAI refuses an object without properties.
        schema = {"type": "object", **schema, "properties": {}}
    name = injected_name(server, definition.name)
    return Tool(name, server, definition.name, definition.description, schema)


def _explanation(tool: Tool, reason: str | None, patterns: Sequence[str] | None) -> Explanation:
    if reason is None and patterns is not None and not _is_wanted(tool, patterns):
        reason = "it was not asked for"
    text = json.dumps([tool.name, tool.description, tool.input_schema], ensure_ascii=False)
    told = Explanation(tool.server, tool.own_name, tool.name, None, len(text) // CHARACTERS_PER_TOKEN)
    return told if reason is None else replace(told, name=None, reason=reason)


def _patterns(wanted: str) -> list[str]:
    return [pattern for part in wanted.split(",") if (pattern := part.strip())]


def _is_wanted(tool: Tool, patterns: Sequence[str]) -> bool:
    names = (tool.server, tool.name, tool.server + SEPARATOR + tool.own_name)
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _name(tool: Tool) -> str:
    return tool.name
