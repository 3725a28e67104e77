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
        self,
        upstreams: Sequence[Upstream],
        transports: Sequence[httpx2.AsyncBaseTransport],
        shared: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """`shared`: the one of `transports` that later routers go on with."""
        self.shared = shared
        self.upstreams, self._transports = tuple(upstreams), tuple(transports)
        self._named = {upstream.name: upstream for upstream in upstreams}

    def route(self, model: str, name: str | None = None, api: str | None = None) -> Upstream:
        """The upstream `name`, else the first that serves `model`, and speaks the dialect `api`.

        Raises BridgeError (`model_not_found`).
        """
        if name is not None:
            return self._named[name]
        for upstream in self.upstreams:
            if (api is None or api in upstream.apis) and upstream.serves(model):
                return upstream
        speaking = [each for each in self.upstreams if api is None or api in each.apis]
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

    def callers_own(self) -> Upstream | None:
        """The upstream that gets the caller's credential where all are asked: it is meant for one at most.

        That is the only one without a key of ours, else the first of all, which requests without a model
        reach.
        """
        keyless = [each for each in self.upstreams if not each.has_key]
        if len(keyless) == 1:
            return keyless[0]
        first = self.opener(None, None, None)
        return None if first.has_key else first

    def states(self) -> dict[str, dict[str, Any]]:
        """How each upstream does."""
        return {upstream.name: upstream.health() for upstream in self.upstreams}

    def unchanged(self, name: str, entry: config.Upstream) -> Upstream | None:
        """The upstream `name` where it has these settings."""
        found = self._named.get(name)
        return found if found is not None and found.settings == entry else None

    async def aclose(self, following: "Router | None" = None) -> None:
        """Close all connections but those that the `following` router uses."""
        kept = following._transports if following else ()
        for transport in self._transports:
            if not any(transport is each for each in kept):
                await transport.aclose()


def from_config(
    upstreams: Mapping[str, config.Upstream],
    transport: httpx2.AsyncBaseTransport | None = None,
    before: Router | None = None,
) -> Router:
    """The router for `upstreams`; `transport` carries all their requests, ours or httpx2's by default.

    Upstreams that did not change since `before` stay, with their connections and what was learned of them.
    """
    carriers = Carriers(transport, before.shared if before else None)
    routed: list[Upstream] = []
    for name, entry in upstreams.items():
        kept = before.unchanged(name, entry) if before else None
        routed.append(kept or Upstream(name, entry, carriers.carrier(entry)))
    used = {id(each): each for each in (*carriers.opened, *(upstream.transport for upstream in routed))}
    return Router(routed, list(used.values()), carriers.shared)
