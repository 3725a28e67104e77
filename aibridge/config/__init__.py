"""The configuration: its models, and how a file becomes one."""

from aibridge.config.loading import load, parse
from aibridge.config.models import (
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

__all__ = [
    "Bridge",
    "Config",
    "DatabaseUrl",
    "Log",
    "McpServer",
    "OAuth",
    "Price",
    "Records",
    "Server",
    "Telemetry",
    "Upstream",
    "load",
    "parse",
]
