"""Which tools are injected under which names, and why others are not: a snapshot that never changes.

Pure. Gets the tools that the servers listed and each server's allow and deny patterns; what a caller or
the header `x-aibridge-tools` wants narrows it further. How lists are got is left to `server.py`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache

from aibridge.nouns import MOST_TOOLS, Explanation, Tool
from aibridge.tools.definitions import NOTHING, Definition, Listing
from aibridge.tools.naming import SEPARATOR, injected_name

MOST_CHOICES = 64
"""Choices of tools that are remembered: a key, or a client's header, makes the same one each time."""
LONGEST_CHOICE = 1024
CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb for English and JSON; an estimate, never billed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which tools of a server may be injected. Patterns are over its own tool names; `deny` wins."""

    allow: Sequence[str] = ("*",)
    deny: Sequence[str] = ()
    allow_destructive: bool = True
    block_changed: bool = False
    """Tools that changed since they were first seen are left out."""


class Catalog:
    """The tools of all servers at one moment."""

    def __init__(self, listed: Mapping[str, Listing], rules: Mapping[str, Rules]) -> None:
        self._listed = listed
        self._judged = list(_judge(listed, rules))
        kept = (tool for tool, _, reason in self._judged if reason is None)
        self._tools = tuple(sorted(kept, key=_name))
        self._remembered = lru_cache(MOST_CHOICES)(self._choice)

    def offer(self, wanted: str | None = None) -> tuple[Tool, ...]:
        """The tools to inject, sorted by name.

        `wanted` is a comma list of servers, tools (`server__tool`) or patterns of either; None is all of
        them, an empty list none. The same choice is the same tuple, while it is remembered.
        """
        if wanted is None:
            return self._tools
        return self._remembered(wanted) if len(wanted) <= LONGEST_CHOICE else self._choice(wanted)

    def _choice(self, wanted: str) -> tuple[Tool, ...]:
        patterns = _patterns(wanted)
        return tuple(tool for tool in self._tools if _is_wanted(tool, patterns))

    def explain(self, wanted: str | None = None) -> tuple[Explanation, ...]:
        """What becomes of every tool of every server, in the servers' own order."""
        chosen = self.offer(wanted)
        fitting = {tool.name for tool in chosen[:MOST_TOOLS]}
        too_many = {tool.name for tool in chosen[MOST_TOOLS:]}
        return tuple(self._explanation(*judged, fitting, too_many) for judged in self._judged)

    def count(self, server: str) -> int:
        """How many tools of `server` are injected."""
        return sum(tool.server == server for tool in self._tools)

    def changed(self, server: str) -> Mapping[str, str]:
        """What changed in the tools of `server`, by their own names."""
        return self._listed.get(server, NOTHING).changed

    def _explanation(
        self, tool: Tool, listed: Definition, reason: str | None, fitting: set[str], too_many: set[str]
    ) -> Explanation:
        if reason is None and tool.name in too_many:
            reason = f"upstreams take at most {MOST_TOOLS} tools; narrow the choice by x-aibridge-tools"
        elif reason is None and tool.name not in fitting:
            reason = "it was not asked for"
        text = json.dumps([tool.name, tool.description, tool.input_schema], ensure_ascii=False)
        told = Explanation(
            tool.server,
            tool.own_name,
            tool.name,
            None,
            len(text) // CHARACTERS_PER_TOKEN,
            self.changed(tool.server).get(tool.own_name),
            listed.read_only,
            listed.destructive,
        )
        return told if reason is None else replace(told, name=None, reason=reason)


def may_concern(server: str, wanted: str | None) -> bool:
    """Whether `wanted` may ask for tools of `server`, whose tools are not known."""
    if wanted is None:
        return True
    for pattern in _patterns(wanted):
        head, separator, _ = pattern.partition(SEPARATOR)
        if fnmatchcase(server, head) or (not separator and pattern[0] in "*?["):
            return True
    return False


def _judge(
    listed: Mapping[str, Listing], rules: Mapping[str, Rules]
) -> Iterator[tuple[Tool, Definition, str | None]]:
    """Every tool with the reason for which it is left out, if there is one."""
    taken: set[str] = set()
    for server, listing in listed.items():
        for definition in listing.tools:
            tool = _tool(server, definition)
            changed = listing.changed.get(definition.name)
            reason = _objection(definition, changed, rules.get(server, Rules()))
            if reason is None and tool.name in taken:
                reason = f"another tool already has the name {tool.name}"
            if reason is None:
                taken.add(tool.name)
            yield tool, definition, reason


def _objection(definition: Definition, changed: str | None, rules: Rules) -> str | None:
    if pattern := _matching(definition.name, rules.deny):
        return f"`deny` holds {pattern!r}"
    if not _matching(definition.name, rules.allow):
        return "no pattern in `allow` matches it"
    if definition.destructive and not rules.allow_destructive:
        return "it is annotated as destructive, and `allow_destructive` is false"
    if changed and rules.block_changed:
        return f"{changed}, and `pin` is block; `aibridge tools accept` takes it"
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


def _patterns(wanted: str) -> list[str]:
    return [pattern for part in wanted.split(",") if (pattern := part.strip())]


def _is_wanted(tool: Tool, patterns: Sequence[str]) -> bool:
    names = (tool.server, tool.name, tool.server + SEPARATOR + tool.own_name)
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _name(tool: Tool) -> str:
    return tool.name
