"""Which upstream serves a model: the first whose patterns match (3-interface.md, upstreams)."""

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import httpx2

from aibridge import config
from aibridge.errors import BridgeError, Kind
from aibridge.upstreams.client import Upstream
from aibridge.upstreams.transport import AiohttpTransport


class Router:
    """All upstreams, in the order of the configuration."""

    def __init__(self, upstreams: Sequence[Upstream], transport: httpx2.AsyncBaseTransport) -> None:
        self.upstreams, self._transport = tuple(upstreams), transport

    def route(self, model: str) -> Upstream:
        """The upstream that serves `model`. Raises BridgeError (`model_not_found`)."""
        for upstream in self.upstreams:
            if any(fnmatchcase(model, pattern) for pattern in upstream.models):
                return upstream
        patterns = [pattern for upstream in self.upstreams for pattern in upstream.models]
        near = difflib.get_close_matches(model, patterns, n=3) or patterns
        sentence = f"no upstream serves the model '{model}'; configured are {', '.join(near)}"
        raise BridgeError(Kind.MODEL_NOT_FOUND, sentence, "model")

    def states(self) -> dict[str, dict[str, str | None]]:
        """Of each upstream `state`: `unknown` before its first answer, `ok`, or `failing` with `error`."""
        return {upstream.name: upstream.health() for upstream in self.upstreams}

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


def from_config(
    upstreams: Mapping[str, config.Upstream], transport: httpx2.AsyncBaseTransport | None = None
) -> Router:
    """The router for `upstreams`; `transport` carries their requests, ours by default."""
    transport = transport or AiohttpTransport()
    return Router([Upstream(name, entry, transport) for name, entry in upstreams.items()], transport)
