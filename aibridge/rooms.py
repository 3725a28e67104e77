"""From a configuration to the rooms that serve it: once at the start, and anew with each reload.

What outlives a reload is `Lasting`; MCP servers and upstreams that did not change go from the old rooms to
the new ones. How requests reach the rooms is left to `app`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from aibridge import records, tools, upstreams
from aibridge.access import Access
from aibridge.bridge.bridge import Bridge
from aibridge.bridge.keeping import Keeping
from aibridge.bridge.limits import Limits
from aibridge.bridge.memory import Memory, Remembering
from aibridge.bridge.pointing import Pointing
from aibridge.bridge.recall import Recall
from aibridge.bridge.translating import Translations
from aibridge.config import Config
from aibridge.facts import Listener
from aibridge.records.redaction import Redaction
from aibridge.telemetry.counters import Counters
from aibridge.telemetry.endings import all_of, log_failures
from aibridge.telemetry.exchanges import Price
from aibridge.telemetry.switching import Tracing, open_traces
from aibridge.web.mcp_routes import tell_call


@dataclass(frozen=True, slots=True)
class Lasting:
    """What lives from the start of the application to its end."""

    recorder: records.Recording
    access: Access
    traces: Tracing
    listeners: Sequence[Listener]
    """Who hears the facts of exchanges after the recorder."""
    in_process: Mapping[str, object]
    """MCP servers that live in this process, by name."""
    transport: httpx2.AsyncBaseTransport | None
    """What carries upstream requests, where that is given."""


async def open_lasting(
    config: Config,
    recorder: records.Recording,
    price: Price,
    counters: Counters,
    in_process: Mapping[str, object],
    transport: httpx2.AsyncBaseTransport | None,
) -> Lasting:
    """What is opened once; `price`: micro-dollars of a round, as the records price it."""
    access = Access(config.access, recorder.key_shelf(), price, _shared_folder(config))
    await access.start()
    mask = Redaction(config.records.redact).text
    traces = await asyncio.to_thread(open_traces, config.telemetry, mask)
    counting = counters.listeners() if config.telemetry.metrics else []
    listeners = [access.gate.hear, log_failures, *counting, *traces.listeners]
    return Lasting(recorder, access, traces, listeners, in_process, transport)


def _shared_folder(config: Config) -> Path | None:
    """Where the processes of this machine count together; nowhere without records, and so without keys."""
    return None if not config.records.enabled else Path(config.records.journal).expanduser() / "limits"


@dataclass(frozen=True, slots=True)
class Rooms:
    """What serves requests by one configuration."""

    config: Config
    lasting: Lasting
    toolbox: tools.Toolbox
    router: upstreams.Router
    bridge: Bridge
    endpoint: tools.Endpoint
    models: upstreams.ModelList
    hidden: Remembering | None
    """Where hidden turns rest."""

    @property
    def recorder(self) -> records.Recording:
        """The records."""
        return self.lasting.recorder

    @property
    def access(self) -> Access:
        """Who may, and how much."""
        return self.lasting.access

    def states(self) -> dict[str, Any]:
        """The states of all parts, for `/readyz`."""
        return {
            "upstreams": self.router.states(),
            "mcp_servers": self.toolbox.states(),
            "records": self.recorder.health(),
            "access": self.access.state(),
        }

    async def aclose(self, following: "Rooms | None" = None) -> None:
        """End all that the rooms which follow do not have."""
        await self.endpoint.aclose()
        await self.toolbox.aclose(following.toolbox if following else None)
        await self.router.aclose(following.router if following else None)


def furnish(config: Config, lasting: Lasting, before: Rooms | None = None) -> Rooms:
    """The rooms for `config`; nothing is connected yet, and nothing of `before` is closed."""
    shelf = lasting.recorder.tool_shelf()
    known = before.toolbox if before else None
    toolbox = tools.from_config(config.mcp_servers, config.bridge, lasting.in_process, shelf, known)
    router = upstreams.from_config(config.upstreams, lasting.transport, before.router if before else None)
    hidden = _recall_store(config, lasting.recorder, before)
    bridge = _bridge(config, lasting, before, toolbox, router, hidden)
    endpoint = tools.Endpoint(
        toolbox,
        partial(tell_call, bridge.listener, bridge.tracing),
        limit=config.bridge.tool_result_limit,
        max_body=config.server.max_body,
    )
    listed = upstreams.ModelList(router)
    return Rooms(config, lasting, toolbox, router, bridge, endpoint, listed, hidden)


def _bridge(
    config: Config,
    lasting: Lasting,
    before: Rooms | None,
    toolbox: tools.Toolbox,
    router: upstreams.Router,
    hidden: Remembering | None,
) -> Bridge:
    settings, answers = config.bridge, lasting.recorder.answer_ids()
    return Bridge(
        router=router,
        toolbox=toolbox,
        listener=all_of(lasting.recorder.tell, *lasting.listeners),
        tracing=lasting.traces.begin,
        inject=settings.inject,
        turn_separator=settings.turn_separator,
        recall=Recall(hidden, settings.recall_limit),
        pointing=before.bridge.pointing if before else Pointing(answers),
        translations=before.bridge.translations if before else Translations(Keeping(answers)),
        limits=Limits(settings.max_rounds, settings.max_tool_calls, settings.deadline),
    )


def _recall_store(config: Config, recorder: records.Recording, before: Rooms | None) -> Remembering | None:
    """Where hidden turns rest: beside the records, in the process alone, or nowhere.

    What is kept in the process outlives a reload.
    """
    wanted = config.bridge.recall
    if before is not None and before.config.bridge.recall == wanted:
        return before.hidden
    if wanted == "off":
        return None
    shared = recorder.hidden_turns() if wanted == "on" else None
    return Remembering(Memory() if shared is None else shared)
