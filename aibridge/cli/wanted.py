"""What `aibridge serve` was told: a file and options, read anew for a reload as they were at the start."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibridge.cli.options import config_path
from aibridge.config import Config, load, parse
from aibridge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `serve`; what is None was not given."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    workers: int | None = None
    upstream: str | None = None
    api_key_env: str | None = None
    mcp: Sequence[str] = ()
    insecure: bool = False

    def read(self) -> Config:
        """The configuration that they mean now. Raises ConfigError."""
        settings = _settings(self.config, self.upstream, self.api_key_env, list(self.mcp))
        return _listening(settings, self)


def _settings(path: Path | None, upstream: str | None, key_env: str | None, mcp: list[str]) -> Config:
    """The configuration: of the file, or of the options where an upstream is named."""
    if upstream is None and (mcp or key_env) and path is None and not config_path(None).exists():
        raise ConfigError("--mcp and --api-key-env go with --upstream URL, or write a configuration file")
    if upstream is None:
        settings = load(config_path(path))
        if not mcp:
            return settings
        own = {name: server.model_dump() for name, server in settings.mcp_servers.items()}
        return _parsed({**_plain(settings), "mcp_servers": {**own, **_mcp_entries(mcp, taken=own)}})
    entry: dict[str, Any] = {"base_url": upstream}
    if key_env is not None:
        if not os.environ.get(key_env):
            raise ConfigError(f"the environment variable {key_env}, named by --api-key-env, is not set")
        entry["api_key"] = os.environ[key_env]
    return _parsed({"upstreams": {"upstream": entry}, "mcp_servers": _mcp_entries(mcp, taken={})})


def _plain(settings: Config) -> dict[str, Any]:
    return settings.model_dump(exclude={"mcp_servers"})


def _parsed(value: dict[str, Any]) -> Config:
    return parse(value, environ={}, source="the options of the command")


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
        raise ConfigError(f"--mcp {command}: {str(error).lower()}") from None
    if not words:
        raise ConfigError("--mcp needs a command or a URL")
    return words


RUNNERS = frozenset({"uvx", "npx", "python", "python3", "node", "uv", "run", "-m", "-y"})


def _server_name(words: list[str]) -> str:
    """A short name for a command: `uvx mcp-server-time` is `time`."""
    telling = [word for word in words if word not in RUNNERS] or words
    stem = Path(telling[0]).name.split("@", 1)[0].removeprefix("mcp-server-").removeprefix("server-")
    letters = "".join(char if char.isascii() and char.isalnum() else "-" for char in stem).strip("-")
    return letters if letters[:1].isalpha() else "mcp"


def _listening(settings: Config, options: Options) -> Config:
    """The configuration with the address of the options; beyond this machine only when that is wanted."""
    from aibridge.web.guard import is_loopback

    given = {"host": options.host, "port": options.port, "workers": options.workers}
    changed = {key: value for key, value in given.items() if value is not None}
    server = settings.server.model_copy(update=changed)
    if not is_loopback(server.host) and settings.access.keys != "required" and not options.insecure:
        raise ConfigError(
            f"server.host {server.host} is open to other machines and nobody needs a key;"
            " listen on 127.0.0.1, set access.keys: required, or accept that with --insecure"
        )
    return settings.model_copy(update={"server": server})
