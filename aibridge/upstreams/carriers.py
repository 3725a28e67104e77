"""Which transport carries an upstream's requests: ours, ours with a CA of its own, httpx2's for a proxy."""

import ssl

import httpx2

from aibridge import config
from aibridge.upstreams.carrying import Adapted, Carrier
from aibridge.upstreams.transport import Http1Transport

UNLIMITED = httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=15.0)


class Carriers:
    """Opens the transports; with `given` that one carries everything.

    `shared` is the one of earlier carriers, whose connections stay.
    """

    def __init__(
        self, given: httpx2.AsyncBaseTransport | None, shared: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self.shared = given or shared
        """Carries the requests of all upstreams that need none of their own."""
        self._given = given is not None
        self.opened: list[httpx2.AsyncBaseTransport] = [self.shared] if self.shared else []

    def carrier(self, settings: config.Upstream) -> httpx2.AsyncBaseTransport:
        """The transport for one upstream; those without a CA and a proxy share one."""
        if not self._given and (settings.proxy or settings.ca_file):
            return self._open(_own(settings))
        if self.shared is None:
            self.shared = self._open(Http1Transport())
        return self.shared

    def _open(self, transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
        self.opened.append(transport)
        return transport


def carrier_of(transport: httpx2.AsyncBaseTransport) -> Carrier:
    """`transport` as a carrier."""
    return transport if isinstance(transport, Http1Transport) else Adapted(transport)


class _Proxied(httpx2.AsyncHTTPTransport):
    """httpx2's transport, whose read clock does not run before the head: that clock is the caller's."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request`; its clock for the body begins with the body."""
        clocks = {**request.extensions["timeout"], "read": None}
        idle = request.extensions["timeout"]["read"]
        request.extensions = {**request.extensions, "timeout": clocks}
        response = await super().handle_async_request(request)
        clocks["read"] = idle  # httpcore2 looks again when the body begins
        return response


def _own(settings: config.Upstream) -> httpx2.AsyncBaseTransport:
    if settings.proxy is None:
        return Http1Transport(trusting(settings.ca_file))
    return _Proxied(
        verify=trusting(settings.ca_file),
        trust_env=False,
        limits=UNLIMITED,
        proxy=httpx2.Proxy(settings.proxy.get_secret_value()),
    )


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """The system's trust store, and the certificates in `ca_file` beside it."""
    context = httpx2.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
