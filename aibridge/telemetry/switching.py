"""Whether exchanges are traced: as the configuration says, and OpenTelemetry's own variables.

OpenTelemetry is loaded only where they are.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aibridge.config import Telemetry
from aibridge.facts import Listener
from aibridge.tracing import Trace

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Begin = Callable[[Sequence[tuple[bytes, bytes]], str], Trace | None]


@dataclass(frozen=True, slots=True)
class Tracing:
    """What the rest needs of traces; as it stands: none are made."""

    begin: Begin = lambda headers, exchange_id: None
    """The place in a trace of an exchange, by the client's headers and its id."""
    listeners: Sequence[Listener] = ()
    close: Callable[[], None] = lambda: None
    """Export what is left; blocks."""


def open_traces(config: Telemetry, mask: Callable[[str], str]) -> Tracing:
    """The traces that `config` wants; their texts are as `mask` leaves them. Loads OpenTelemetry."""
    if not wanted(config):
        return Tracing()
    from aibridge.telemetry.tracing import Traces  # noqa: PLC0415 - costs 0.3 s

    traces = Traces(content=config.capture_content, mask=mask)
    return Tracing(traces.begin, [traces], traces.close)


def wanted(config: Telemetry) -> bool:
    """Whether exchanges are traced."""
    if config.traces == "off" or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return config.traces == "on" or any(os.environ.get(name) for name in ENDPOINTS)
