"""From the configuration to a toolbox: servers, their rules, their credentials, and what is kept of them."""

import hashlib
import json
from collections.abc import Mapping
from functools import partial

from pydantic import SecretStr

from aibridge.config import Bridge, McpServer
from aibridge.tools.branches import Branches, Credential
from aibridge.tools.catalog import Rules
from aibridge.tools.keeping import Keeping, ProcessShelf, Shelf
from aibridge.tools.server import Server
from aibridge.tools.toolbox import NONE, Toolbox


def from_config(
    servers: Mapping[str, McpServer],
    bridge: Bridge,
    in_process: Mapping[str, object] = NONE,
    shelf: Shelf | None = None,
    before: Toolbox | None = None,
) -> Toolbox:
    """The toolbox for the configured servers; nothing is connected before `start()`.

    `in_process` holds server objects of the mcp package (`MCPServer` or the low-level `Server`) by name; one
    with the name of a configured server takes its place and keeps its patterns, timeouts and mode. What is
    to outlive the process is kept on `shelf`. Servers that did not change since `before` stay as they are.
    """
    shelf = shelf or ProcessShelf()
    enabled = {name: config for name, config in servers.items() if not config.disabled}
    keeping: dict[str, Keeping] = {}
    opened: list[Server | Branches] = []
    for name in (*enabled, *(name for name in in_process if name not in servers)):
        config = enabled.get(name)
        kept = before.unchanged(name, config) if before else None
        server, keeping[name] = kept or _opened(shelf, name, config, in_process.get(name))
        opened.append(server)
    rules = {name: _rules(config) for name, config in enabled.items()}
    needed = frozenset(name for name, config in enabled.items() if config.on_unavailable == "fail")
    return Toolbox(opened, rules, bridge, needed, keeping, enabled)


def _opened(
    shelf: Shelf, name: str, config: McpServer | None, target: object
) -> tuple[Server | Branches, Keeping]:
    """A server that is configured, or lives in this process, or both; and what is kept of it."""
    if config is None:
        keeping = Keeping(shelf, name)
        return Server(name, target, keeping=keeping), keeping
    keeping = _keeping(shelf, name, config, target is not None)
    return _server(name, config, target, keeping), keeping


def _server(name: str, config: McpServer, target: object, keeping: Keeping) -> Server | Branches:
    if target is None and config.forward_headers:
        return Branches(name, config.forward_headers, partial(_with_credential, name, config, keeping))
    return _plain(name, config, target or config, keeping)


def _plain(name: str, config: McpServer, target: object, keeping: Keeping) -> Server:
    return Server(
        name,
        target,
        mode=config.mode,
        timeout=config.timeout,
        timeout_total=config.timeout_total,
        keeping=keeping,
    )


def _with_credential(name: str, config: McpServer, keeping: Keeping, credential: Credential) -> Server:
    """A server that gets the client's headers; they win over configured ones of the same name."""
    given = {header: SecretStr(value) for header, value in credential}
    own = {header: value for header, value in config.headers.items() if header.lower() not in given}
    return _plain(name, config, config.model_copy(update={"headers": {**own, **given}}), keeping)


def _rules(config: McpServer) -> Rules:
    return Rules(config.allow, config.deny, config.allow_destructive, config.pin == "block")


def _keeping(shelf: Shelf, name: str, config: McpServer, in_process: bool) -> Keeping:
    told = [config.command, config.args, config.cwd, config.url, config.type, in_process]
    identity = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    shared = in_process or not config.forward_headers
    return Keeping(shelf, name, identity, config.pin, shared=shared)
