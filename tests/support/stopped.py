"""`aibridge` in a process that gets SIGTERM at a point of its start, which AIBRIDGE_STOPPED names.

`python -P tests/support/stopped.py serve …` is `aibridge serve …`.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import uvicorn

from aibridge.app import App
from aibridge.cli import main

_PATIENCE = 10.0
_fork = os.fork


def _told_before(work: Callable[..., Any]) -> Callable[..., Any]:
    def told(*given: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return work(*given, **named)

    return told


def _fork_and_stop() -> int:
    """The new worker stops its supervisor, and goes on when that has told it to stop too."""
    pid = _fork()
    if pid == 0:
        os.kill(os.getppid(), signal.SIGTERM)
        end = time.monotonic() + _PATIENCE
        while signal.SIGTERM not in signal.sigpending() and time.monotonic() < end:
            time.sleep(0.01)
        if signal.SIGTERM not in signal.sigpending():
            sys.stderr.write("the worker's stop was lost\n")
    return pid


POINTS: dict[str, Callable[[], Any]] = {
    "made": lambda: patch.object(App, "__init__", _told_before(App.__init__)),
    "run": lambda: patch.object(uvicorn.Server, "run", _told_before(uvicorn.Server.run)),
    "served": lambda: patch.object(uvicorn.Server, "serve", _told_before(uvicorn.Server.serve)),
    "started": lambda: patch.object(uvicorn.Server, "startup", _told_before(uvicorn.Server.startup)),
    "forked": lambda: patch("os.fork", _fork_and_stop),
}
"""Where the signal comes: as the application is made, when uvicorn begins, in its loop, while it starts up;
or when a worker was forked."""

if __name__ == "__main__":
    with POINTS[os.environ["AIBRIDGE_STOPPED"]]():
        sys.exit(main())
