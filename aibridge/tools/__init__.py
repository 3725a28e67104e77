"""MCP: connections to the configured servers, their tools as one catalog, and the calls of a turn.

The only room that imports mcp, and only when a server starts: importing this package stays cheap.
"""

from aibridge.tools.endpoint import Endpoint
from aibridge.tools.keeping import Shelf
from aibridge.tools.opening import from_config
from aibridge.tools.toolbox import Toolbox

__all__ = ["Endpoint", "Shelf", "Toolbox", "from_config"]
