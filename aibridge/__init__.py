"""aibridge: an OpenAI-compatible proxy that injects, runs and hides the tools of MCP servers.

In Python, `create_app(config)` gives the ASGI application (design: "What its users touch").
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aibridge.app import create_app

__version__ = "0.1.0"
__all__ = ["__version__", "create_app"]


def __getattr__(name: str) -> Any:
    """Load the application only when it is asked for, so that the command line starts at once."""
    if name == "create_app":
        from aibridge.app import create_app  # noqa: PLC0415 - a version costs no application

        return create_app
    raise AttributeError(f"module 'aibridge' has no attribute {name!r}")
