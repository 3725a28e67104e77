"""Which upstream serves a model: the first whose patterns match (3-interface.md, upstreams)."""

import difflib
from collections.abc import Mapping, Sequence

import httpx2

from aibridge import config
from aibridge.errors import BridgeError, Kind
from aibridge.upstreams.client import Upstream
from aibridge.upstreams.transport import Http1Transport


class Router:
    """All upstreams, in the order of the configuration."""

    def __init__(self, upstreams: Sequence[Upstream], transport: httpx2.AsyncBaseTransport) -> None:
        self.upstreams, self._transport = tuple(upstreams), transport

    def route(self, model: str, name: str | None = None, api: str | None = None) -> Upstream:
        """The upstream `name`, else the first that serves `model`, and speaks the dialect `api`.

        Raises BridgeError (`model_not_found`).
        """
        if name is not None:
            return next(upstream for upstream in self.upstreams if upstream.name == name)
        speaking = [each for each in self.upstreams if api is None or api in each.apis]
        for upstream in speaking:
            if upstream.serves(model):
                return upstream
        names = [known for each in speaking for known in (*each.aliases, *each.models)]
        near = difflib.get_close_matches(model, names, n=3) or names
        sentence = f"no upstream serves the model '{model}'; configured are {', '.join(near) or 'none'}"
        raise BridgeError(Kind.MODEL_NOT_FOUND, sentence, "model")

    def serves(self, upstream: Upstream, model: str) -> bool:
        """True where requests for `model` reach `upstream`."""
        return next((each for each in self.upstreams if each.serves(model)), None) is upstream

    def opener(self, name: str | None, model: str | None, api: str | None) -> Upstream:
        """The upstream `name`, else the one that serves `model` and speaks `api`, else the first.

        Raises BridgeError (`model_not_found`).
        """
        if name or model:
            return self.route(model or "", name, api)
        return next((each for each in self.upstreams if api is None or api in each.apis), self.upstreams[0])

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
    transport = transport or Http1Transport()
    return Router([Upstream(name, entry, transport) for name, entry in upstreams.items()], transport)
