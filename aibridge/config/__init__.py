"""The configuration: its models, and how a file becomes one."""

from aibridge.config.key_rules import KeyRules, KeyTold, NewKey
from aibridge.config.loading import load, parse
from aibridge.config.models import (
    Access,
    Bridge,
    Config,
    DatabaseUrl,
    Log,
    McpServer,
    OAuth,
    Price,
    Records,
    Server,
    Telemetry,
    Upstream,
)
from aibridge.config.reloading import Source, keep_fixed

__all__ = [
    "Access",
    "Bridge",
    "Config",
    "DatabaseUrl",
    "KeyRules",
    "KeyTold",
    "Log",
    "McpServer",
    "NewKey",
    "OAuth",
    "Price",
    "Records",
    "Server",
    "Source",
    "Telemetry",
    "Upstream",
    "keep_fixed",
    "load",
    "parse",
]
