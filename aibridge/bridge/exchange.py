"""The loop: ask, relay, run the injected calls, extend, ask again; one ending.

An exchange is an async generator of what the client gets. Facts go to its listener, the ending before the
last piece leaves, so that what a client saw complete is recorded. No cancel scope, task group or context
token spans a `yield`; whoever consumes it uses `aclosing`, and closing it early cancels what runs.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from aibridge.bridge.events import Begin, Event, Relay
from aibridge.bridge.ports import Answer, HeaderPairs, Toolbox, Upstream
from aibridge.bridge.story import Story
from aibridge.dialects.base import Dialect, InvalidAnswer, Request, Round, Turn, View
from aibridge.errors import BridgeError, Kind, UpstreamRefused
from aibridge.nouns import Result, Tool

SHOULD_RETRY = b"x-should-retry"
WRONG_MEDIA = {
    True: frozenset({"application/json", "text/html"}),
    False: frozenset({"text/event-stream", "text/html"}),
}
"""Content types that cannot be what was asked, by `stream`; others are tried: some servers mislabel."""
CLIENT_LEFT = 499
"""nginx's status for a client that closed the connection before there was an answer."""


class Exchange:
    """One client request with all that it causes."""

    def __init__(
        self,
        dialect: Dialect,
        request: Request,
        view: View,
        headers: HeaderPairs,
        upstream: Upstream,
        tools: tuple[Tool, ...],
        toolbox: Toolbox,
        story: Story,
    ) -> None:
        self.story, self.upstream = story, upstream.name
        self._dialect = dialect
        self._request, self._view, self._headers = request, view, headers
        self._upstream, self._tools, self._toolbox = upstream, tools, toolbox
        self._streamed = request.asked.streamed
        self._begin: Begin | None = None
        self._round: Round | None = None
        self._tools_ran = False

    async def run(self) -> AsyncGenerator[Event]:
        """What the client gets, in order; the last piece says that it is."""
        self.story.begins(self._request.asked, self._upstream.name, self._tools)
        try:
            async with aclosing(self._rounds()) as events:
                async for event in events:
                    self.story.watch.to("client")
                    yield event
                    self.story.watch.to("own")
        except (UpstreamRefused, BridgeError) as failure:
            for event in self._failure(failure):
                yield event
        except Exception:
            self._abandon()
            self.story.fails(BridgeError(Kind.INTERNAL, "aibridge failed; its log says why"), self._status)
            raise
        finally:
            self._abandon()
            self.story.ends("cancelled", self._status)

    async def _rounds(self) -> AsyncGenerator[Event]:
        watch = self.story.watch
        while True:
            current = self._view.open_round()
            self.story.rounds += 1
            tail = b""
            watch.to("upstream")
            async with self._upstream.ask(self._dialect.path, self._headers, self._request.body) as answer:
                if self._begin is None:
                    yield self._begins(answer)
                self._round = current
                watch.to("upstream")
                while not current.ended and (chunk := await answer.read()):
                    watch.to("own")
                    tail = self._take(current, chunk)
                    if tail and not current.ended:
                        yield Relay(tail)
                        tail = b""
                    watch.to("upstream")
            watch.to("own")
            turn, rest = self._finish(current)
            tail += rest
            if not turn.injected_calls:
                break
            if self._streamed:
                yield Relay(tail)  # at least the head: tools may take long
                tail = b""
            results = await self._run_tools(turn)
            if turn.client_calls:
                break
            self._request = self._request.extended(turn, results)
        yield self._ending(turn, tail)

    def _begins(self, answer: Answer) -> Begin:
        """The client's response has the first answer's status and headers."""
        if answer.media_type in WRONG_MEDIA[self._streamed]:
            asked = "a stream" if self._streamed else "JSON"
            raise self._invalid(
                f"it answered with {answer.media_type or 'no content type'} instead of {asked}"
            )
        self._begin = Begin(answer.status, answer.headers)
        return self._begin

    def _take(self, current: Round, chunk: bytes) -> bytes:
        """The client's bytes for bytes of the upstream."""
        try:
            shown = current.take(chunk)
        except InvalidAnswer as reason:
            raise self._invalid(str(reason)) from None
        if shown:
            self.story.gives_bytes(text=current.text_seen)
        return shown

    def _finish(self, current: Round) -> tuple[Turn, bytes]:
        """The turn that the round gave, told to the records."""
        try:
            turn, rest = current.finish()
        except InvalidAnswer as reason:
            raise self._invalid(str(reason)) from None
        self._round = None
        self.story.round_ends(turn)
        self.story.relays(turn.client_calls)
        return turn, rest

    async def _run_tools(self, turn: Turn) -> list[Result]:
        """A result for every injected call of the turn."""
        self.story.watch.to("tools")
        self._tools_ran = True
        results = await self._toolbox.run(turn.injected_calls, self._tools, self.story.call_finishes)
        self.story.watch.to("own")
        return results

    def _ending(self, turn: Turn, tail: bytes) -> Relay:
        """The last piece; the ending is told before it leaves."""
        last = tail + self._view.close()
        self.story.gives_bytes(text=bool(turn.message))
        status = self._begin.status if self._begin else CLIENT_LEFT
        if turn.error is None:
            self.story.ends("completed", status)
        else:
            self.story.ends("failed", status, "upstream_error", turn.error)
        return Relay(last, last=True)

    def _failure(self, failure: UpstreamRefused | BridgeError) -> Iterator[Event]:
        """An error response where the head is not sent yet, else the event that ends the stream."""
        self._abandon()
        if self._begin is not None and self._begin.sent:
            self.story.fails(failure, self._begin.status)
            yield Relay(self._dialect.error_event(failure), last=True)
            return
        if isinstance(failure, UpstreamRefused):
            status, headers, body = failure.status, list(failure.headers), failure.body
        else:
            status, headers = failure.kind.status, error_headers(failure)
            body = self._dialect.error_body(failure)
        if self._tools_ran:
            headers = [pair for pair in headers if pair[0].lower() != SHOULD_RETRY]
            headers.append((SHOULD_RETRY, b"false"))  # a retry of the client's would run the tools twice
        self.story.fails(failure, status)
        self._begin = Begin(status, headers)
        yield self._begin
        yield Relay(body, last=True)

    def _abandon(self) -> None:
        """A round that was cut short is told as far as it came."""
        if self._round is not None:
            self.story.round_ends(self._round.abandon())
            self._round = None

    def _invalid(self, reason: str) -> BridgeError:
        return BridgeError(Kind.UPSTREAM_INVALID, f"upstream '{self._upstream.name}' {reason}")

    @property
    def _status(self) -> int:
        return self._begin.status if self._begin and self._begin.sent else CLIENT_LEFT


def error_headers(error: BridgeError) -> list[tuple[bytes, bytes]]:
    """The headers of an error response of our own."""
    headers = [(b"content-type", b"application/json")]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    return headers
