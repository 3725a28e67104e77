"""From a YAML file, or a dict, to a `Config`: environment filled in, errors as one sentence with a line.

A configuration that is wrong raises ConfigError and changes nothing.
"""

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from aibridge.config.models import Config
from aibridge.errors import ConfigError

Lines = dict[tuple[str | int, ...], int]
BRACKETS = frozenset("[(")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}")


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in the file at `path`; raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no configuration file {path}; write one (config.example.yaml shows every key),"
            " or name an upstream with --upstream URL"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {_reason(error)}") from None
    lines: Lines = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = {} if node is None else _construct(node, (), lines)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_yaml_place(error)}: this is not YAML: {_yaml_problem(error)}") from None
    return parse(value, environ=environ, source=str(path), lines=lines, folder=path.parent)


def parse(
    value: Any,
    *,
    environ: Mapping[str, str] = os.environ,
    source: str = "configuration",
    lines: Lines | None = None,
    folder: Path = Path(),
) -> Config:
    """The configuration in a plain value; raises ConfigError. `lines` tells where each key stands."""
    place = _Place(source, lines or {})
    if not isinstance(value, dict):
        raise ConfigError(f"{source} has to hold keys like `upstreams:`, not a {type(value).__name__}")
    filled = _fill(value, (), environ, place)
    filled = _include(filled, folder, environ, place)
    try:
        return Config.model_validate(filled)
    except ValidationError as error:
        raise ConfigError(_sentence(error, place)) from None


class _Place:
    """Tells file and line of a key."""

    def __init__(self, source: str, lines: Lines) -> None:
        self._source, self._lines = source, lines

    def __call__(self, path: tuple[str | int, ...]) -> str:
        for length in range(len(path), 0, -1):
            if line := self._lines.get(path[:length]):
                return f"{self._source}:{line}"
        return self._source


def _construct(node: yaml.Node, path: tuple[str | int, ...], lines: Lines) -> Any:
    """The plain value of a YAML node; notes each key's line on the way."""
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        result: dict[Any, Any] = {}
        for key_node, item_node in node.value:
            key = str(key_node.value)
            if key in result:
                raise yaml.MarkedYAMLError(
                    problem=f"key '{key}' stands twice", problem_mark=key_node.start_mark
                )
            result[key] = _construct(item_node, (*path, key), lines)
            lines[(*path, key)] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, at), lines) for at, item in enumerate(node.value)]
    constructor = yaml.SafeLoader("")
    return constructor.construct_object(node, deep=True)


def _fill(value: Any, path: tuple[str | int, ...], environ: Mapping[str, str], place: _Place) -> Any:
    """`${NAME}` and `${NAME:-default}` replaced in every string; a missing variable is an error."""
    if isinstance(value, dict):
        return {key: _fill(item, (*path, key), environ, place) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, (*path, at), environ, place) for at, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name, default = match[1], match[3]
        found = environ.get(name)
        if found or (found is not None and match[2] is None):
            return found
        if match[2] is None:
            raise ConfigError(
                f"{place(path)}: {_dotted(path)} names the environment variable {name}, which is not set;"
                f" set it, or write ${{{name}:-default}}"
            )
        return default

    filled = VARIABLE.sub(variable, value)
    return None if not filled and filled != value else filled


def _include(
    value: dict[str, Any], folder: Path, environ: Mapping[str, str], place: _Place
) -> dict[str, Any]:
    """`mcp_servers.include`: `mcpServers` of another tool's JSON file; our own entries win."""
    servers = value.get("mcp_servers")
    if not isinstance(servers, dict) or not isinstance(servers.get("include"), str):
        return value
    path = folder / Path(servers["include"]).expanduser()
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("mcpServers")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{place(('mcp_servers', 'include'))}: {path} cannot be included: {_reason(error)}"
        ) from None
    if not isinstance(found, dict):
        raise ConfigError(f"{place(('mcp_servers', 'include'))}: {path} holds no `mcpServers` object")
    included = _fill(found, ("mcp_servers",), environ, place)
    own = {name: entry for name, entry in servers.items() if name != "include"}
    return {**value, "mcp_servers": {**included, **own}}


def _sentence(error: ValidationError, place: _Place) -> str:
    """The first problem of `error` with its place, and what to write instead."""
    problems = error.errors(include_url=False, include_input=False)
    problem = min(problems, key=lambda each: each["type"] != "extra_forbidden")  # a typo explains the rest
    # Parts in brackets are no keys of the file: `[key]`, or which kind of a value was tried.
    path = tuple(part for part in problem["loc"] if not BRACKETS & set(str(part)))
    where, key = place(path), _dotted(path)
    match problem["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key {key}{_nearest(path)}"
        case "missing":
            return f"{where}: {key} is missing; add it"
        case "string_pattern_mismatch":
            return f"{where}: {key} is no valid name; use letters, digits, - and _, a letter first"
    return f"{where}: {key}: {problem['msg'].removeprefix('Value error, ')}".replace(": : ", ": ")


def _nearest(path: tuple[str | int, ...]) -> str:
    """The known key that is most like the unknown one."""
    model: Any = Config
    for part in path[:-1]:
        of_names = get_origin(model) is dict
        model = get_args(model)[1] if of_names else model.model_fields[str(part)].annotation
    known = list(model.model_fields)
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known here are {', '.join(known)}"


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in path)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _yaml_place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _yaml_problem(error: yaml.YAMLError) -> str:
    return getattr(error, "problem", None) or str(error).split("\n", 1)[0]
