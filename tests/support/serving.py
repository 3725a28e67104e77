"""An ASGI application on a real socket, run by uvicorn in a thread of the test's own process."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from aibridge.demo.answering import Asked
from aibridge.demo.model import create_model
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Served:
    """Where an application is reached."""

    port: int

    @property
    def url(self) -> str:
        """The origin, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What clients of OpenAI's API want to know."""
        return f"{self.url}/v1"


class _Server(uvicorn.Server):
    """Looks five times as often as uvicorn's own whether it is to stop: tests start and stop hundreds."""

    async def main_loop(self) -> None:
        """Until the stop."""
        count = 0
        while not await self.on_tick(count):
            count = (count + 2) % 1000
            await asyncio.sleep(0.02)


@contextmanager
def serving(app: ASGIApp, keep_alive: int = 5) -> Iterator[Served]:
    """Serve `app` until the block ends; its lifespan runs, and no thread or socket is left.

    `keep_alive`: seconds that unused connections are kept.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, ws="none", timeout_graceful_shutdown=1, timeout_keep_alive=keep_alive
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="serving")
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive(), what="the server's start")
        assert server.started, "the application did not start; see the log"
        yield Served(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@dataclass(frozen=True, slots=True)
class Model(Served):
    """The scripted model, and what it was asked."""

    app: Starlette

    @property
    def asked(self) -> list[Asked]:
        """The chat completions and responses that it was asked for, oldest first."""
        asked = tuple(self.app.state.asked)
        return [each for each in asked if each.path in ("/v1/chat/completions", "/v1/responses")]

    def forget(self) -> None:
        """Empty the log."""
        self.app.state.asked.clear()


@contextmanager
def scripted_model(keep_alive: int = 5) -> Iterator[Model]:
    """The scripted model on a free port; it keeps unused connections for `keep_alive` seconds."""
    app = create_model()
    with serving(app, keep_alive) as served:
        yield Model(served.port, app)
