"""A call's place in a trace: mcp hands the current one on to the server, in the request's `_meta`."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def placed(traceparent: str | None) -> Iterator[None]:
    """What is called within is at `traceparent`; None leaves all as it is."""
    if traceparent is None:
        yield
        return
    from opentelemetry import context  # noqa: PLC0415 - only where something is traced
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - too

    place = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    token = context.attach(place)
    try:
        yield
    finally:
        context.detach(token)
