"""What is kept of a server over restarts: its last list of tools, and the pins of their definitions.

A pin is a tool's definition as it was first seen, or as it was accepted later. Where both rest is a `Shelf`
that `app.py` gives; a shelf that fails is logged, and what was read before stays in force.
"""

from collections.abc import Mapping
from typing import Literal, Protocol

import structlog

from aibridge.tools.definitions import (
    Definition,
    Listing,
    difference,
    from_text,
    pinned_text,
    to_text,
)

Pin = Literal["off", "warn", "block"]
NEW = "it is new since the server was first seen"
UNREADABLE = "its pin cannot be read"

log = structlog.get_logger(__name__)


class Shelf(Protocol):
    """Where lists and pins rest; shared by all processes. Its methods may fail with any exception."""

    async def kept_list(self, server: str) -> str | None:
        """The text that was kept for `server`."""
        ...

    async def keep_list(self, server: str, text: str) -> None:
        """Keep `text` in the place of what was kept."""
        ...

    async def pins(self, server: str) -> Mapping[str, str]:
        """The pinned texts of the tools of `server`, by the tools' own names."""
        ...

    async def pin(self, server: str, texts: Mapping[str, str], *, replace: bool) -> None:
        """Pin `texts` by tool name; a pin that exists stays unless `replace`."""
        ...


class ProcessShelf:
    """A shelf that lasts as long as the process."""

    def __init__(self) -> None:
        self._lists: dict[str, str] = {}
        self._pins: dict[str, dict[str, str]] = {}

    async def kept_list(self, server: str) -> str | None:
        """See `Shelf`."""
        return self._lists.get(server)

    async def keep_list(self, server: str, text: str) -> None:
        """See `Shelf`."""
        self._lists[server] = text

    async def pins(self, server: str) -> Mapping[str, str]:
        """See `Shelf`."""
        return dict(self._pins.get(server, {}))

    async def pin(self, server: str, texts: Mapping[str, str], *, replace: bool) -> None:
        """See `Shelf`."""
        known = self._pins.setdefault(server, {})
        known.update({tool: text for tool, text in texts.items() if replace or tool not in known})


class Keeping:
    """What is kept of one server."""

    def __init__(
        self, shelf: Shelf, server: str, identity: str = "", pin: Pin = "warn", *, shared: bool = True
    ) -> None:
        """`identity` tells one server from another that is later configured under the same name.

        Where sessions are not `shared`, lists differ by caller: none is kept, and what one caller sees and
        another does not is no change.
        """
        self._shelf, self._server, self._identity = shelf, server, identity
        self._pin, self._shared = pin, shared
        self._pins: Mapping[str, str] | None = None
        self._kept: str | None = None
        self._told: Mapping[str, str] = {}

    async def last(self) -> Listing | None:
        """The list that the server had when it was last connected."""
        if not self._shared:
            return None
        try:
            self._kept = await self._shelf.kept_list(self._server)
        except Exception as error:
            self._failed("the last tool list could not be read", error)
        tools = None if self._kept is None else from_text(self._identity, self._kept)
        return None if tools is None else await self._judged(tools)

    async def listed(self, tools: tuple[Definition, ...]) -> Listing:
        """The list that the server has now: kept, and compared with the pins."""
        listing = await self._judged(tools)
        text = to_text(self._identity, tools)
        if self._shared and text != self._kept:
            try:
                await self._shelf.keep_list(self._server, text)
                self._kept = text
            except Exception as error:
                self._failed("the tool list could not be kept", error)
        return listing

    async def accept(self, tools: tuple[Definition, ...]) -> None:
        """Pin `tools` as they are now. Raises what the shelf raises."""
        await self._shelf.pin(self._server, {tool.name: pinned_text(tool) for tool in tools}, replace=True)

    async def _judged(self, tools: tuple[Definition, ...]) -> Listing:
        if self._pin == "off":
            return Listing(tools)
        texts = {tool.name: pinned_text(tool) for tool in tools}
        try:
            self._pins = await self._first_seen(texts)
        except Exception as error:
            self._failed("the pins could not be read", error)
        changed = self._changes(texts)
        for tool, what in changed.items():
            if self._told.get(tool) != what:
                log.warning("mcp tool changed", server=self._server, tool=tool, reason=what, pin=self._pin)
        self._told = changed
        return Listing(tools, changed)

    async def _first_seen(self, texts: Mapping[str, str]) -> Mapping[str, str]:
        """The pins, after what is seen for the first time was pinned."""
        known = await self._shelf.pins(self._server)
        unknown = {tool: text for tool, text in texts.items() if tool not in known}
        if unknown and not (known and self._shared):
            await self._shelf.pin(self._server, unknown, replace=False)
            known = await self._shelf.pins(self._server)  # another process may have been first
        return known

    def _changes(self, texts: Mapping[str, str]) -> dict[str, str]:
        if self._pins is None:
            return dict.fromkeys(texts, UNREADABLE)
        changed = {}
        for tool, text in texts.items():
            pinned = self._pins.get(tool)
            if pinned is None:
                changed[tool] = NEW
            elif pinned != text:
                changed[tool] = f"{difference(pinned, text)} changed since it was first seen"
        return changed

    def _failed(self, what: str, error: Exception) -> None:
        log.warning(what, server=self._server, error=type(error).__name__)
