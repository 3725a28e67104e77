"""Sends an exchange to its client: a head that waits for the first bytes, heartbeats, a client that leaves.

One read of the upstream is one write here, with no task or queue in between. Once the exchange is not a
short one, a coroutine beside it waits for the client's disconnect and cancels the work; one timer a stream,
moved by its writes, sends the heartbeats.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, cast

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Send

from aibridge import tasks
from aibridge.bridge.events import Begin, Cut, Event, Relay
from aibridge.bridge.flowing import Flow
from aibridge.dialects import OPENAI
from aibridge.errors import BridgeError, ErrorShape, Kind, error_headers
from aibridge.web.headers import Pairs, to_client

log = structlog.get_logger(__name__)
NO_BUFFERING = [(b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no")]
"""Proxies in between would hold back a stream without these."""
AtOnce = Callable[[Message], Coroutine[Any, Any, None]]
WITHOUT_BODY = frozenset({204, 304})
SHORT = 0.05
"""Seconds that an exchange runs before anybody looks whether its client left: little is saved by ending one
so early."""


class Reply:
    """One response that is made of an exchange's events."""

    def __init__(
        self,
        send: Send,
        dialect: ErrorShape,
        exchange_id: str,
        added: Iterable[tuple[bytes, bytes]],
        heartbeat: float = math.inf,
    ) -> None:
        """`heartbeat`: seconds of silence."""
        self._send, self._dialect, self._heartbeat = send, dialect, heartbeat
        self._at_once = cast("AtOnce", send) if _needs_no_task(send) else None
        self._exchange_id, self._added = exchange_id.encode(), list(added)
        self._loop = asyncio.get_running_loop()
        self._begin: Begin | None = None
        self._streamed = False
        self._written = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.Task[None] | None = None
        self._watcher: tasks.Aside | asyncio.Task[None] | None = None
        self._ended = self._client_left = False

    async def run(self, events: AsyncGenerator[Event], receive: Receive) -> None:
        """Send `events` until the last, or until the client leaves."""
        work = asyncio.current_task()
        assert work is not None
        watching = self._loop.call_later(SHORT, self._begin_watch, receive, work)
        try:
            async with aclosing(events):
                async for event in events:
                    await self._give(event)
        except asyncio.CancelledError:
            if not self._client_left:
                await self._fail(BridgeError(Kind.OVERLOADED, "aibridge was stopped; ask again"))
            work.uncancel()  # the response is at its end: nothing is left to cancel, or to log as a failure
        except Cut:
            log.debug("the answer broke off, and the client's connection with it")
        except Exception:
            log.exception("the exchange failed by a bug of aibridge")
            await self._fail(BridgeError(Kind.INTERNAL, "aibridge failed; its log says why"))
        finally:
            self._ended = True
            if self._timer:
                self._timer.cancel()
            watching.cancel()
            if isinstance(self._watcher, tasks.Aside):
                self._watcher.end()
                self._watcher = None
            if self._watcher or self._beat:
                await tasks.stop(*(task for task in (self._watcher, self._beat) if task))

    def _begin_watch(self, receive: Receive, work: "asyncio.Task[None]") -> None:
        watch = self._watch(receive, work)
        self._watcher = tasks.Aside(watch) if _needs_no_task(receive) else tasks.start(watch, "client-left")

    async def _watch(self, receive: Receive, work: "asyncio.Task[None]") -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._ended:
            self._client_left = True
            work.cancel()

    async def _give(self, event: Event) -> None:
        if self._beat and not self._beat.done():
            await self._beat
        if isinstance(event, Begin):
            self._begin = event
            self._streamed = event.view is not None and _is_stream(event) and not event.verbatim
            self._written = self._loop.time()
            if self._streamed and self._timer is None:
                self._timer = self._loop.call_later(self._heartbeat, self._tick)
        elif isinstance(event, Flow):
            await event.into(self._write_at_once)
        else:
            self._ended = event.last
            await self._write(event.data, last=event.last)

    def _write_at_once(self, data: bytes) -> Awaitable[None] | None:
        """Write outside of any task where the server can, until the client does not take more."""
        if self._beat and not self._beat.done():
            return self._give(Relay(data))
        if self._at_once is None or self._begin is None or not self._begin.sent:
            return self._write(data, last=False)
        self._written = self._loop.time()
        return tasks.begun(self._at_once({"type": "http.response.body", "body": data, "more_body": True}))

    async def _write(self, data: bytes, *, last: bool) -> None:
        begin = self._begin
        assert begin is not None, "an exchange begins before it gives bytes"
        if not begin.sent:
            begin.sent = True
            headers = self._head(begin, length=len(data) if last else None)
            await self._send({"type": "http.response.start", "status": begin.status, "headers": headers})
        self._written = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    def _head(self, begin: Begin, length: int | None) -> Pairs:
        added = [(b"x-aibridge-upstream", begin.upstream.encode()), *self._added]
        headers = to_client(begin.headers, added, self._exchange_id, verbatim=begin.verbatim)
        if begin.verbatim:
            # There it tells the length of what another answer would have: the server would wait for that.
            bodiless = begin.status in WITHOUT_BODY
            return [pair for pair in headers if pair[0] != b"content-length"] if bodiless else headers
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        if self._streamed:
            known = {name for name, _ in headers}
            headers += [pair for pair in NO_BUFFERING if pair[0] not in known]
        return headers

    def _tick(self) -> None:
        """The timer: silence since the last write makes a heartbeat, a write meanwhile moves the timer."""
        rest = self._written + self._heartbeat - self._loop.time()
        waits = self._beat is not None and not self._beat.done()  # for a client that does not read
        view = self._begin.view if self._begin else None
        if rest <= 0 and view and not self._ended and not waits and (beat := view.keep_alive()):
            self._beat = tasks.start(self._write(beat, last=False), "heartbeat")
        self._timer = self._loop.call_later(rest if rest > 0 else self._heartbeat, self._tick)

    async def _fail(self, error: BridgeError) -> None:
        """End the response in an error, in whatever state it is."""
        if self._ended:
            return
        self._ended = True
        if self._begin and self._begin.sent and self._streamed and self._begin.view:
            await self._write(self._begin.view.failure(error), last=True)
        elif not (self._begin and self._begin.sent):
            await send_error(self._send, error, self._dialect)


def _needs_no_task(asked: Send | Receive) -> bool:
    """True for uvicorn's own, which waits for nothing but its client; others may need a task."""
    return type(getattr(asked, "__self__", None)).__module__.startswith("uvicorn.protocols.")


def _is_stream(begin: Begin) -> bool:
    for name, value in begin.headers:
        if name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream"):
            return True
    return False


async def send_error(send: Send, error: BridgeError, dialect: ErrorShape | None = None) -> None:
    """A whole error response; in OpenAI's shape where no dialect is known."""
    body = (dialect or OPENAI).error_body(error)
    headers = [*error_headers(error), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.kind.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def http_error(request: Request, error: Exception) -> Response:
    """Starlette's own refusals in OpenAI's shape."""
    assert isinstance(error, HTTPException)
    kind = {404: Kind.NOT_FOUND, 405: Kind.METHOD_NOT_ALLOWED}.get(error.status_code, Kind.BAD_REQUEST)
    sentence = f"{request.method} {request.url.path}: {error.detail}"
    body = OPENAI.error_body(BridgeError(kind, sentence))
    return Response(body, error.status_code, error.headers, "application/json")
