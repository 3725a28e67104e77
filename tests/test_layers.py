"""Who may import whom: the rooms of the house, and the foreign libraries that only some of them know."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import aibridge

HOUSE = Path(aibridge.__file__).parent
LEAVES = frozenset({"config", "errors", "facts", "ids", "masking", "nouns", "tasks", "tracing"})
SEE_EVERYTHING = frozenset({"app", "routes", "rooms", "cli", "__init__"})
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, LEAVES),
    "wire": LEAVES,
    "dialects": LEAVES | {"wire"},
    "bridge": LEAVES | {"wire", "dialects"},
    "web": LEAVES | {"wire", "dialects", "bridge"},
    "upstreams": LEAVES | {"wire"},
    "tools": LEAVES,
    "records": LEAVES,
    "access": LEAVES,
    "telemetry": LEAVES,
    "demo": LEAVES,
}
ONLY_IN = {
    "starlette": {"web", "app", "routes", "demo"},
    "mcp": {"tools", "demo"},
    "httpx2": {"upstreams", "tools", "app", "rooms"},
    "sqlalchemy": {"records"},
    "alembic": {"records"},
    "redis": {"access"},
    "aiohttp": set[str](),
    "httpx": set[str](),
}
FOR_TYPES_ONLY = {("cli", "sqlalchemy")}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module; `typed_only`: under `if TYPE_CHECKING`."""

    module: str
    line: int
    typed_only: bool

    @property
    def target(self) -> tuple[str, str]:
        """The package, and the room where it is our own."""
        package, _, rest = self.module.partition(".")
        return package, rest.partition(".")[0]


def _imports(tree: ast.AST, typed_only: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(each.name, node.lineno, typed_only) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            names = [f"{start}.{each.name}" for each in node.names] if start == "aibridge" else [start]
            yield from (Import(name, node.lineno, typed_only) for name in names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _imports(ast.Module(node.body, []), True)
            yield from _imports(ast.Module(node.orelse, []), typed_only)
        else:
            yield from _imports(node, typed_only)


def _room(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def _faults(room: str, source: str) -> list[str]:
    """What `source`, a file of `room`, imports and may not."""
    return [
        f"line {each.line}: {room} must not import {each.module}"
        for each in _imports(ast.parse(source))
        if not _may(room, each)
    ]


def _may(room: str, imported: Import) -> bool:
    package, target = imported.target
    if package == "":
        return False  # relative imports hide the room
    if package == "aibridge":
        return target in ("", "__version__", room) or room in SEE_EVERYTHING or target in MAY_IMPORT[room]
    if imported.typed_only and (room, package) in FOR_TYPES_ONLY:
        return True
    return room in ONLY_IN.get(package, {room})


FILES = sorted(HOUSE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_every_file_imports_only_what_its_room_may(path: Path) -> None:
    assert _faults(_room(path), path.read_text()) == []


def test_every_room_has_a_place_in_the_table() -> None:
    rooms = {_room(path) for path in FILES}
    assert rooms <= MAY_IMPORT.keys() | SEE_EVERYTHING


def test_no_room_has_the_name_of_a_module_of_python() -> None:
    assert not {_room(path) for path in FILES} & set(sys.builtin_module_names)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("wire", "from aibridge.dialects import OPENAI"),
        ("dialects", "from aibridge import bridge"),
        ("bridge", "import aibridge.web.reply"),
        ("upstreams", "from aibridge.dialects.base import Turn"),
        ("tools", "def late():\n    from aibridge.records import open_records"),
        ("records", "from aibridge.telemetry import logging"),
        ("config", "from aibridge.wire import sse"),
        ("web", "from aibridge.app import App"),
        ("web", "from ..app import App"),
        ("bridge", "from starlette.types import Send"),
        ("web", "import httpx2"),
        ("web", "import mcp.types"),
        ("cli", "import sqlalchemy"),
        ("cli", "if TYPE_CHECKING:\n    pass\nelse:\n    import sqlalchemy"),
        ("tools", "import aiohttp"),
        ("tools", "import httpx"),
    ],
)
def test_a_forbidden_import_is_found(room: str, source: str) -> None:
    [fault] = _faults(room, source)
    assert f"{room} must not import" in fault


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("wire", "import json\nfrom aibridge.errors import BridgeError"),
        ("web", "from aibridge import __version__, tasks\nfrom aibridge.bridge.bridge import Bridge"),
        ("app", "from aibridge import records, tools\nimport httpx2"),
        ("cli", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sqlalchemy import Row"),
    ],
)
def test_an_allowed_import_is_no_fault(room: str, source: str) -> None:
    assert _faults(room, source) == []
