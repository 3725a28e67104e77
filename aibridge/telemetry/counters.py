"""All that this process counts for Prometheus, and the text of a scrape."""

from collections.abc import Mapping
from typing import Any

from aibridge.facts import Listener
from aibridge.telemetry.exchanges import Exchanges, Price
from aibridge.telemetry.metrics import exposition
from aibridge.telemetry.recording import Recording
from aibridge.telemetry.refusals import Refusals
from aibridge.telemetry.upstreams import Fallbacks, Upstreams

States = Mapping[str, Mapping[str, Any]]


class Counters:
    """Counts from facts; it lives as long as the process, whatever is reloaded."""

    def __init__(self, price: Price) -> None:
        self._exchanges, self._fallbacks = Exchanges(price), Fallbacks()
        self.refusals = Refusals()

    def listeners(self) -> list[Listener]:
        """Who has to hear the facts."""
        return [self._exchanges, self._fallbacks]

    def exposition(
        self, servers: States, upstreams: States, health: Mapping[str, Any], lost: Mapping[str, int]
    ) -> bytes:
        """The counts, the states of MCP servers and upstreams, and how the recorder is."""
        told = Upstreams(upstreams, self._fallbacks.counts)
        return exposition(servers, told, self._exchanges, self.refusals, Recording(health, lost))
