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


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket; where that fails, says why in one sentence and ends with status 1.

    `shared`: others of this program may listen there too, and the kernel shares connections out (Linux).
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
    """What serves `app`; see `aibridge.cli.serving`."""
    from aibridge.cli.serving import Serving

    return Serving(app)


def hold_stops() -> None:
    """Let SIGTERM wait in the kernel from here on, until the server can hear it (`serve_with`)."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _hear_stops(server: "uvicorn.Server") -> None:
    """A SIGTERM before the server has handlers stops it once it has started; one after them is no failure."""
    signal.signal(signal.SIGTERM, server.handle_exit)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def run(app: "App", listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; ends with status 1 where the application could not start."""
    if sentence := serve_with(server_for(app), app, listening):
        fail(sentence)


def serve_with(server: "uvicorn.Server", app: "App", listening: socket.socket) -> str | None:
    """Serve until the end; the sentence why it could not start, if so."""
    sys.setswitchinterval(SWITCH)
    _hear_stops(server)
    if app.can_reload and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can be done
    # It leaves by SystemExit where the application cannot start: then `failure` says why.
    with listening, contextlib.suppress(KeyboardInterrupt, SystemExit):
        server.run(sockets=[listening])
    if server.started:
        return None
    return app.failure or "the server could not start; its log says why"
