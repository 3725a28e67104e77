"""The configuration: its models, and how a file becomes one."""

from aibridge.config.access import Access
from aibridge.config.key_rules import KeyRules, KeyTold, NewKey
from aibridge.config.loading import load, parse
from aibridge.config.mcp_server import McpServer, OAuth
from aibridge.config.models import Bridge, Config, Log, Server, Telemetry
from aibridge.config.records import DatabaseUrl, Price, Records
from aibridge.config.reloading import Source, TakenUp, differences, keep_fixed
from aibridge.config.upstream import Upstream

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
    "TakenUp",
    "Telemetry",
    "Upstream",
    "differences",
    "keep_fixed",
    "load",
    "parse",
]
