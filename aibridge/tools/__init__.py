"""MCP: connections to the configured servers, their tools as one catalog, and the calls of a turn.

The only room that imports mcp, and only when a server starts: importing this package stays cheap.
"""

from aibridge.tools.catalog import Explanation
from aibridge.tools.toolbox import Toolbox, from_config

__all__ = ["Explanation", "Toolbox", "from_config"]
