"""Running the application under uvicorn: the port first, so that a taken one is said in a sentence."""

import contextlib
import errno
import signal
import socket
import sys
from typing import TYPE_CHECKING

from aibridge.cli.options import fail

if TYPE_CHECKING:
    import uvicorn

    from aibridge.app import App


SWITCH = 0.0005
"""Seconds for which the records' thread may hold the interpreter while requests wait; Python's 5 ms are seen
in every hundredth answer."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; where that fails, says why in one sentence and ends with status 1."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            fail(f"port {port} on {host} is taken; stop what listens there, or choose another with --port")
        fail(f"cannot listen on {host}:{port}: {error.strerror or error}")
    listening.setblocking(False)
    return listening


def url_of(listening: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server_for(app: "App") -> "uvicorn.Server":
    """uvicorn, set up for streams: no access log, no headers of its own, a grace for running exchanges."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="on",
            http="httptools",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(app.config.server.shutdown_grace)),
        )
    )


def run(app: "App", listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; ends with status 1 where the application could not start."""
    server = server_for(app)
    sys.setswitchinterval(SWITCH)
    # uvicorn raises the signal again when it is done: for us the stop was a success.
    signal.signal(signal.SIGTERM, lambda *_: None)
    # It leaves by SystemExit where the application cannot start: then `failure` says why.
    with listening, contextlib.suppress(KeyboardInterrupt, SystemExit):
        server.run(sockets=[listening])
    if app.failure:
        fail(app.failure)
    if not server.started:
        fail("the server could not start; its log says why")
