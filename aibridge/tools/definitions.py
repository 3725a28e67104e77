"""What a server says of its tools: definitions, a list of them at one moment, and both as text to keep.

Pure. Where lists come from is left to `session.py`, where they rest to `keeping.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Definition:
    """A tool as its server lists it."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    needs_task: bool = False
    """The tool can only be run as an MCP task, which a model's call is not."""
    read_only: bool = False
    """Annotated as changing nothing (`readOnlyHint`)."""
    destructive: bool = False
    """Annotated as one that may destroy (`destructiveHint`)."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The tools of one server at one moment."""

    tools: tuple[Definition, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict)
    """Tools that are not what they were when first seen, each with what changed: "its description"."""


NOTHING = Listing()
"""What is known of a server whose tools nobody knows."""


def is_destructive(read_only: bool | None, destructive: bool | None) -> bool:
    """Whether a tool's annotations say that it may destroy.

    The specification takes a tool that says it writes for destructive unless it denies that. One without
    any annotation has said nothing, which most servers do.
    """
    if read_only:
        return False
    return destructive if destructive is not None else read_only is False


def pinned_text(tool: Definition) -> str:
    """What is pinned of a tool: all that a model or a policy goes by. Equal for equal definitions."""
    value = {
        "description": tool.description,
        "schema": tool.input_schema,
        "hints": [tool.read_only, tool.destructive],
    }
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def difference(pinned: str, now: str) -> str:
    """What differs between two pinned texts, as the beginning of "… changed"."""
    try:
        before, after = json.loads(pinned), json.loads(now)
        parts = [f"its {part}" for part in after if before.get(part) != after[part]]
    except (ValueError, AttributeError):
        parts = []
    return " and ".join(parts) or "its definition"


def to_text(identity: str, tools: tuple[Definition, ...]) -> str:
    """A list as it is kept; `identity` tells what server it came from."""
    return json.dumps({"server": identity, "tools": [asdict(tool) for tool in tools]}, ensure_ascii=False)


def from_text(identity: str, text: str) -> tuple[Definition, ...] | None:
    """The list in `text`; None where it is of another server, or of another version of aibridge."""
    try:
        value = json.loads(text)
        if value["server"] != identity:
            return None
        return tuple(Definition(**each) for each in value["tools"])
    except (ValueError, TypeError, KeyError):
        return None
