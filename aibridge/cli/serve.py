"""`aibridge serve`: the bridge, from a file or from a few options."""

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from aibridge.cli.options import ConfigOption, config_path, fail, load_config
from aibridge.config import Config, parse
from aibridge.errors import ConfigError


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    upstream: Annotated[
        str | None, typer.Option(metavar="URL", help="Instead of a file: the upstream.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable with the upstream's key.")
    ] = None,
    mcp: Annotated[
        list[str] | None, typer.Option(metavar="COMMAND|URL", help="An MCP server; may be repeated.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine although nobody needs a key.")
    ] = False,
) -> None:
    """Run the bridge."""
    from aibridge.cli.running import bind, run, url_of

    settings = _settings(config, upstream, api_key_env, mcp or [])
    settings = _listening(settings, host, port, insecure=insecure)
    listening = bind(settings.server.host, settings.server.port)

    from aibridge.app import create_app
    from aibridge.telemetry import logging

    logging.configure(settings.telemetry.log, settings.secrets())
    typer.echo(f"aibridge listens on {url_of(listening)}; point clients at {url_of(listening)}/v1", err=True)
    run(create_app(settings), listening)


def _settings(path: Path | None, upstream: str | None, key_env: str | None, mcp: list[str]) -> Config:
    """The configuration: of the file, or of the options where an upstream is named."""
    if upstream is None and (mcp or key_env) and path is None and not config_path(None).exists():
        fail("--mcp and --api-key-env go with --upstream URL, or write a configuration file")
    if upstream is None:
        settings = load_config(path)
        if not mcp:
            return settings
        own = {name: server.model_dump() for name, server in settings.mcp_servers.items()}
        return _parsed({**_plain(settings), "mcp_servers": {**own, **_mcp_entries(mcp, taken=own)}})
    entry: dict[str, Any] = {"base_url": upstream}
    if key_env is not None:
        if not os.environ.get(key_env):
            fail(f"the environment variable {key_env}, named by --api-key-env, is not set")
        entry["api_key"] = os.environ[key_env]
    return _parsed({"upstreams": {"upstream": entry}, "mcp_servers": _mcp_entries(mcp, taken={})})


def _plain(settings: Config) -> dict[str, Any]:
    return settings.model_dump(exclude={"mcp_servers"})


def _parsed(value: dict[str, Any]) -> Config:
    try:
        return parse(value, environ={}, source="the options of the command")
    except ConfigError as error:
        fail(str(error))


def _mcp_entries(given: list[str], taken: dict[str, Any]) -> dict[str, Any]:
    """Entries of `mcp_servers` for `--mcp`: a URL, or the command of a stdio server."""
    entries: dict[str, Any] = {}
    for text in given:
        entry: dict[str, Any]
        if text.startswith(("http://", "https://")):
            name, entry = "mcp", {"url": text}
        else:
            words = _words(text)
            name, entry = _server_name(words), {"command": words[0], "args": words[1:]}
        known, number = name, 2
        while name in entries or name in taken:
            name, number = f"{known}{number}", number + 1
        entries[name] = entry
    return entries


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        fail(f"--mcp {command}: {str(error).lower()}")
    if not words:
        fail("--mcp needs a command or a URL")
    return words


RUNNERS = frozenset({"uvx", "npx", "python", "python3", "node", "uv", "run", "-m", "-y"})


def _server_name(words: list[str]) -> str:
    """A short name for a command: `uvx mcp-server-time` is `time`."""
    telling = [word for word in words if word not in RUNNERS] or words
    stem = Path(telling[0]).name.split("@", 1)[0].removeprefix("mcp-server-").removeprefix("server-")
    letters = "".join(char if char.isascii() and char.isalnum() else "-" for char in stem).strip("-")
    return letters if letters[:1].isalpha() else "mcp"


def _listening(settings: Config, host: str | None, port: int | None, *, insecure: bool) -> Config:
    """The configuration with the address of the options; beyond this machine only when that is wanted."""
    from aibridge.web.guard import is_loopback

    given = {"host": host, "port": port}
    changed = {key: value for key, value in given.items() if value is not None}
    server = settings.server.model_copy(update=changed)
    if not is_loopback(server.host) and settings.access.keys != "required" and not insecure:
        fail(
            f"server.host {server.host} is open to other machines and nobody needs a key;"
            " listen on 127.0.0.1, set access.keys: required, or accept that with --insecure"
        )
    return settings.model_copy(update={"server": server})
