"""A collector of OpenTelemetry's: takes traces over OTLP/HTTP, as protobuf, and keeps their spans."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(slots=True)
class Told:
    """One span, its ids in hexadecimal."""

    name: str
    id: str
    parent: str
    trace: str
    kind: int
    attributes: dict[str, Any]
    error: str
    events: list[str]
    service: str
    seconds: float


@dataclass(slots=True)
class Collector:
    """What arrived."""

    url: str
    spans: list[Told] = field(default_factory=list)

    def named(self, beginning: str) -> list[Told]:
        """The spans whose name begins so, in their order."""
        return [span for span in self.spans if span.name.startswith(beginning)]


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                raise AssertionError("nobody asked for gzip")
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                of = {each.key: _value(each.value) for each in resource.resource.attributes}
                for scope in resource.scope_spans:
                    found.spans += [_told(span, str(of.get("service.name"))) for span in scope.spans]
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, name="collector")
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _told(span: Any, service: str) -> Told:
    return Told(
        name=span.name,
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        trace=span.trace_id.hex(),
        kind=span.kind,
        attributes={each.key: _value(each.value) for each in span.attributes},
        error=span.status.message,
        events=[event.name for event in span.events],
        service=service,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
