"""Which upstream serves a model: the first whose patterns match (3-interface.md, upstreams)."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from aibridge import config
from aibridge.errors import BridgeError, Kind
from aibridge.upstreams.carriers import Carriers
from aibridge.upstreams.client import Upstream
from aibridge.upstreams.headers import presents_credential


class Router:
    """All upstreams, in the order of the configuration."""

    def __init__(
        self, upstreams: Sequence[Upstream], transports: Sequence[httpx2.AsyncBaseTransport]
    ) -> None:
        self.upstreams, self._transports = tuple(upstreams), tuple(transports)
        self._named = {upstream.name: upstream for upstream in upstreams}

    def route(self, model: str, name: str | None = None, api: str | None = None) -> Upstream:
        """The upstream `name`, else the first that serves `model`, and speaks the dialect `api`.

        Raises BridgeError (`model_not_found`).
        """
        if name is not None:
            return self._named[name]
        speaking = [each for each in self.upstreams if api is None or api in each.apis]
        for upstream in speaking:
            if upstream.serves(model):
                return upstream
        names = [known for each in speaking for known in (*each.aliases, *each.models)]
        near = difflib.get_close_matches(model, names, n=3) or names
        sentence = f"no upstream serves the model '{model}'; configured are {', '.join(near) or 'none'}"
        raise BridgeError(Kind.MODEL_NOT_FOUND, sentence, "model")

    def fallbacks(
        self, name: str, model: str, api: str, headers: Sequence[tuple[bytes, bytes]]
    ) -> list[Upstream]:
        """The upstreams to ask next where `name` fails to answer a request for `model` with `headers`.

        None where `name` was asked with the caller's own credential: that must neither reach another
        upstream nor be made up for by a key of ours.
        """
        first = self._named[name]
        if not first.fallback or (not first.has_key and presents_credential(headers)):
            return []
        others = (self._named[other] for other in first.fallback)
        return [
            each.without_callers_credential() for each in others if api in each.apis and each.serves(model)
        ]

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

    def states(self) -> dict[str, dict[str, Any]]:
        """How each upstream does."""
        return {upstream.name: upstream.health() for upstream in self.upstreams}

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._transports:
            await transport.aclose()


def from_config(
    upstreams: Mapping[str, config.Upstream], transport: httpx2.AsyncBaseTransport | None = None
) -> Router:
    """The router for `upstreams`; `transport` carries all their requests, ours or httpx2's by default."""
    carriers = Carriers(transport)
    routed = [Upstream(name, entry, carriers.carrier(entry)) for name, entry in upstreams.items()]
    return Router(routed, carriers.opened)
