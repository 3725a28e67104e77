"""Opens exchanges: reads the request, picks upstream and tools, and says why tools were left out."""

from dataclasses import dataclass, field

import structlog
from msgspec import Struct

from aibridge.bridge.answers import Whose
from aibridge.bridge.exchange import Exchange
from aibridge.bridge.keeping import Owner
from aibridge.bridge.limits import Limits
from aibridge.bridge.plan import Plan, prepare
from aibridge.bridge.pointing import Pointing
from aibridge.bridge.ports import HeaderPairs, Router, Toolbox, Tracing, Upstream
from aibridge.bridge.recall import Recall
from aibridge.bridge.story import Story
from aibridge.bridge.translating import Translations
from aibridge.dialects.base import CallsShown, Dialect, Manner, Request, UsageShown
from aibridge.dialects.offered import names_of_tools
from aibridge.errors import BridgeError, Kind
from aibridge.facts import Listener
from aibridge.nouns import MOST_TOOLS, Caller, Offer, Tool

log = structlog.get_logger(__name__)
NO_RECALL = Recall(None)
DEFAULT_LIMITS = Limits()


def _untraced(_headers: HeaderPairs, _exchange_id: str) -> None:
    return None


class Incoming(Struct, frozen=True):
    """A client's request as it came."""

    path: str
    headers: HeaderPairs
    body: bytes
    caller: Caller
    query: str = ""
    upstream: str | None = None
    """The upstream that the path names."""
    wanted_tools: str | None = None
    """The header `x-aibridge-tools`."""
    usage: UsageShown = "sum"
    calls: CallsShown = "hidden"
    brings_tools: bool = False
    """The client is one whose own requests always bring tools."""
    recall: bool = True
    """False where the header `x-aibridge-recall` says `off`."""


class Opened(Struct, frozen=True):
    """An exchange that is ready to run, and why it has no tools, if it has none by rule."""

    exchange: Exchange
    tools_off: str | None


@dataclass(frozen=True, slots=True)
class Bridge:
    """What all exchanges share."""

    router: Router
    toolbox: Toolbox
    listener: Listener
    inject: bool = True
    turn_separator: str = "\n\n"
    recall: Recall = NO_RECALL
    limits: Limits = DEFAULT_LIMITS
    pointing: Pointing = field(default_factory=Pointing)
    tracing: Tracing = _untraced
    translations: Translations = field(default_factory=Translations)

    async def open(self, dialect: Dialect, incoming: Incoming) -> Opened:
        """The exchange for a request. Raises BridgeError where the request cannot be served."""
        story = Story(self.listener, incoming.caller, dialect.name, incoming.path)
        story.trace = self.tracing(incoming.headers, story.exchange_id)
        client = dialect.read(incoming.body)
        router = self.translations.router(self.router, Owner(incoming.caller.id, client.asked.user))
        upstream = router.route(client.asked.model, incoming.upstream, dialect.name)
        check_model(incoming.caller, client.asked.model, upstream.resolve(client.asked.model))
        offer, reason = await self._choose(client, incoming)
        tools, story.left_out = _fitting(offer.tools, client)
        story.unavailable = offer.unavailable
        recall = self.recall if incoming.recall else NO_RECALL
        whose = Whose.of(incoming.caller, client, dialect.name, offer.scope)
        client = await self.pointing.lead(client, whose)
        prepared = await prepare(client, upstream, tools, recall, whose, upstream.quirks)
        story.recalled_turns = prepared.recalled_turns
        plan = Plan(
            dialect=dialect,
            client=client,
            prepared=prepared,
            target=f"{dialect.path}?{incoming.query}" if incoming.query else dialect.path,
            headers=incoming.headers,
            upstream=upstream,
            fallbacks=_fallbacks(router, upstream.name, client, dialect.name, incoming),
            tools=tools,
            recall=recall,
            whose=whose,
            manner=Manner(self.turn_separator, incoming.usage, incoming.calls),
            limits=self.limits,
        )
        return Opened(Exchange(plan, self.toolbox, self.pointing, story), reason)

    async def _choose(self, request: Request, incoming: Incoming) -> tuple[Offer, str | None]:
        """What may be injected, and the reason where nothing may be."""
        wanted = (incoming.wanted_tools or "").strip()
        rights = incoming.caller.rights
        inject = self.inject if rights.inject is None else rights.inject
        if wanted == "off" or not (wanted or inject) or rights.inject is False:
            return Offer(), "off"
        if request.refuses_tools:
            return Offer(), request.refuses_tools
        if incoming.brings_tools and not request.tool_count and not wanted:
            # An agent's request without tools is for itself: a title, a summary. Tools would derail it.
            return Offer(), "no-tools-of-the-client"
        chosen = rights.wanted(None if wanted in ("", "on") else wanted)
        return rights.narrow(await self.toolbox.offer(chosen, incoming.headers)), None


def _fallbacks(router: Router, name: str, client: Request, api: str, incoming: Incoming) -> list[Upstream]:
    """The upstreams to ask next where `name` does not answer, that the caller's key allows."""
    if incoming.upstream is not None or client.refers_to:
        return []  # the path wants this one; only this one knows an answer that is gone on from
    model, rights = client.asked.model, incoming.caller.rights
    others = router.fallbacks(name, model, api, incoming.headers)
    return [other for other in others if rights.allow_model(model, other.resolve(model))]


def check_model(caller: Caller, *names: str) -> None:
    """Raises BridgeError (403) where the caller's key allows none of the names of a model."""
    if not caller.rights.allow_model(*names):
        sentence = f"this key may not use the model '{names[0]}'; GET /v1/models lists those that it may"
        raise BridgeError(Kind.MODEL_NOT_ALLOWED, sentence, "model")


def _fitting(offered: tuple[Tool, ...], request: Request) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """The tools that the client has not itself, as many as an upstream takes; the names of the others.

    Where all fit they are the same tuple, by which they are known again.
    """
    if not offered:
        return (), ()
    own = request.tool_names
    room = max(0, MOST_TOOLS - request.tool_count)
    if len(offered) <= room and own.isdisjoint(names_of_tools(offered)):
        return offered, ()
    free = [tool for tool in offered if tool.name not in own]
    left_out = [tool.name for tool in offered if tool.name in own] + [tool.name for tool in free[room:]]
    if left_out:
        log.warning("tools not injected: the client has tools of these names, or too many", tools=left_out)
    return tuple(free[:room]), tuple(left_out)
