"""Clients that reset their connections: nothing is kept of these."""

from contextlib import ExitStack
from pathlib import Path

from tests.end_to_end.soaking import reset
from tests.support.bridge import Bridge
from tests.support.raw import connection, read_response, request
from tests.support.serving import Model
from tests.support.waiting import eventually

MANY = 20
LEFT = "uvicorn.protocols.http.httptools_impl.RequestResponseCycle"
"""Of the last request on a connection; a census names what there is more than five of."""


def test_of_connections_that_are_reset_nothing_is_kept(model: Model, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, {"upstreams": {"up": {"base_url": model.base_url, "api_key": "sk-up"}}})
    bridge.count()
    with bridge, ExitStack() as clients:
        kept = [clients.enter_context(connection(bridge.port)) for _ in range(MANY)]
        for client in kept:
            client.sendall(request(bridge.port, method="GET", path="/healthz"))
            assert read_response(client, "GET").status == 200
        assert LEFT in bridge.census()["types"]
        for client in kept:
            reset(client)
            client.close()
        eventually(lambda: LEFT not in bridge.census()["types"], 30, "the end of what was answered")
