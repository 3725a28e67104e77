"""The loop: ask, relay, run the injected calls, extend, ask again; one ending.

An exchange is an async generator of what the client gets. Facts go to its listener, the ending before the
last piece leaves, so that what a client saw complete is recorded. No cancel scope, task group or context
token spans a `yield`; whoever consumes it uses `aclosing`, and closing it early cancels what runs.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import partial

from aibridge.bridge.asking import Asking, Unusable
from aibridge.bridge.events import Begin, Event, Relay
from aibridge.bridge.flowing import Flow
from aibridge.bridge.limits import APOLOGY, Progress
from aibridge.bridge.plan import Plan
from aibridge.bridge.pointing import Pointing
from aibridge.bridge.ports import Answer, Toolbox
from aibridge.bridge.story import Story
from aibridge.dialects.base import InvalidAnswer, Round, Turn, View
from aibridge.errors import CLIENT_LEFT, BridgeError, Kind, UpstreamRefused, error_headers
from aibridge.nouns import Call, Result, Usage

SHOULD_RETRY = b"x-should-retry"
BYTES_PER_TOKEN = 4
WRONG_MEDIA = {
    True: frozenset({"application/json", "text/html"}),
    False: frozenset({"text/event-stream", "text/html"}),
}
"""Content types that cannot be what was asked, by `stream`; others are tried: some servers mislabel."""
SENT_ERROR = "upstream '{}' sent an error in its answer"
"""For the record, as of one that answers with an error status: its own words may hold credentials."""


class Exchange:
    """One client request with all that it causes."""

    def __init__(self, plan: Plan, toolbox: Toolbox, pointing: Pointing, story: Story) -> None:
        self.story = story
        self._plan, self._toolbox, self._pointing = plan, toolbox, pointing
        self._tools = plan.tools
        self._asking = Asking(plan, story)
        self.view = self._new_view()
        self._shown_id: str | None = None
        self._streamed = plan.client.asked.streamed
        self._progress = Progress(plan.limits)
        self._begin: Begin | None = None
        self._round: Round | None = None
        self._tools_ran = self._text_seen = self._relayed = False

    async def run(self) -> AsyncGenerator[Event]:
        """What the client gets, in order; the last piece says that it is."""
        self.story.begins(self._plan.client.asked, self._plan.upstream.name, self._tools)
        asked = True
        try:
            while asked:
                asked = False
                try:
                    async with aclosing(self._rounds()) as events:
                        async for event in events:
                            self.story.watch.to("client")
                            yield event
                            self.story.watch.to("own")
                except (UpstreamRefused, BridgeError) as failure:
                    asked = await self._falls_back(failure)
                    if not asked:
                        for event in self._failure(self._told(failure)):
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
        results: list[Result] = []
        while True:
            current = self._open_round()
            watch.to("upstream")
            async with self._asking as answer:
                self._check_media(answer)
                if self._begin is None:
                    self._begin = Begin(answer.status, answer.headers, self._asking.upstream.name, self.view)
                    yield self._begin
                self._round = current
                watch.to("upstream")
                chunk = await answer.read()
                watch.to("own")
                tail = self._take(current, chunk)
                if chunk and not current.ended:
                    if tail:
                        self._relayed = True
                        yield Relay(tail)
                    flow = Flow(answer, partial(self._take, current), watch, current)
                    if not answer.ended:
                        yield flow
                        self._relayed = self._relayed or flow.wrote
                    tail = flow.rest()
            turn, tail = self._finish(current, tail)
            if turn.error is not None or not turn.injected_calls:
                break
            self._relayed = True
            if self._streamed:
                yield Relay(tail)  # at least the head: tools may take long
                tail = b""
            results = await self._run_tools(turn)
            if shown := self.view.results(turn, results):
                yield Relay(shown)
            if turn.client_calls:
                break
            self._asking.extend(turn, results)
        await self._keep(turn, results)
        yield self._ending(turn, tail)

    def _new_view(self) -> View:
        return self._asking.request.view(self._tools, self._plan.manner)

    async def _falls_back(self, failure: UpstreamRefused | BridgeError) -> bool:
        """Whether another upstream is asked: only while the client has no byte of an answer."""
        if self._relayed or not await self._asking.falls_back(failure):
            return False
        self.view, self._round, self.story.rounds = self._new_view(), None, 0
        if self._begin is not None and self._begin.sent:
            self._begin.view = self.view
        else:
            self._begin = None
        return True

    def _told(self, failure: UpstreamRefused | BridgeError) -> UpstreamRefused | BridgeError:
        """What the client is told: where no upstream answered, why the first one, its own, did not."""
        first = self._asking.first_failure
        return failure if first is None or self._relayed else self._asking.gives_up(first)

    def _open_round(self) -> Round:
        """The next round; once a cap is reached, the last one, in which the model has to answer."""
        self.story.round_begins()
        if self._progress.reached is None:
            return self.view.open_round()
        self._asking.request = self._asking.request.without_tools(self._tools)
        return self.view.open_round(last=APOLOGY)

    def _check_media(self, answer: Answer) -> None:
        if answer.media_type in WRONG_MEDIA[self._streamed]:
            asked = "a stream" if self._streamed else "JSON"
            raise self._invalid(f"answered with {answer.media_type} instead of {asked}")

    def _take(self, current: Round, chunk: bytes) -> bytes:
        """The client's bytes for bytes of the upstream."""
        try:
            shown = current.take(chunk)
        except InvalidAnswer as reason:
            raise self._invalid(str(reason)) from None
        if shown and self.story.first_text is None:
            self._text_seen = self._text_seen or current.text_seen
            self.story.gives_bytes(text=self._text_seen)
        return shown

    def _finish(self, current: Round, tail: bytes) -> tuple[Turn, bytes]:
        """The turn that the round gave, told to the records, and what is left for the client after `tail`."""
        try:
            turn, rest = current.finish()
        except InvalidAnswer as reason:
            raise self._invalid(str(reason)) from None
        if turn.error is not None and not self._relayed and self._asking.may_fall_back:
            raise self._invalid(f"began its answer with an error: {turn.error}")
        self._round = None
        self._shown_id = self._shown_id or turn.response_id
        self._text_seen = self._text_seen or current.text_seen
        if turn.error is not None and current.text_seen:
            self._cut_short(turn)
        else:
            self.story.round_ends(turn)
        self.story.relays(turn.client_calls)
        return turn, tail + rest

    async def _run_tools(self, turn: Turn) -> list[Result]:
        """A result for every injected call of the turn, in call order."""
        calls = turn.injected_calls
        if turn.client_calls and not self._plan.recall.keeps:
            return self._refuse(calls, "its result could not be kept: recall is off")
        allowed = self._progress.allowed(calls)
        self.story.watch.to("tools")
        results = await self._run_until_deadline(calls[:allowed])
        self.story.watch.to("own")
        for call in calls[allowed:]:
            results.append(self._progress.refusal(call))
            self.story.call_finishes(call, results[-1])
        self._progress.repeats(turn, results)
        if self._progress.reached is not None:
            self.story.note(self._progress.reached)
        return results

    async def _run_until_deadline(self, calls: list[Call]) -> list[Result]:
        finished: dict[int, Result] = {}

        def hear(call: Call, result: Result) -> None:
            finished[id(call)] = result
            self.story.call_finishes(call, result)

        self._tools_ran = self._tools_ran or bool(calls)
        if trace := self.story.trace:
            for call in calls:
                call.traceparent = trace.header(trace.call(self.story.rounds, call.id))
        try:
            async with asyncio.timeout(max(0.0, self._progress.seconds_left)):
                return await self._toolbox.run(calls, self._tools, hear, self._plan.headers) if calls else []
        except TimeoutError:
            self._progress.reached = "deadline"
            told = ((call, finished.get(id(call))) for call in calls)
            return [
                result if result and result.status != "cancelled" else self._progress.refusal(call)
                for call, result in told
            ]

    def _refuse(self, calls: list[Call], reason: str) -> list[Result]:
        """Calls of a mixed turn whose results nobody could see later: they are not run."""
        results = [
            Result(call.id, f"Error: not run, {reason}.", "refused", time.time(), 0, reason) for call in calls
        ]
        for call, result in zip(calls, results, strict=True):
            self.story.call_finishes(call, result)
        return results

    async def _keep(self, turn: Turn, results: list[Result]) -> None:
        """Keep what was hidden, before the client can come back with the answer."""
        plan, asking = self._plan, self._asking
        if turn.error is not None:
            return
        if pointers := asking.request.pointers(self._shown_id, turn, results):
            await self._pointing.keep(pointers, plan.whose)
        await asking.upstream.keep(self.view.shown)
        if plan.recall.keeps:
            hid = asking.request.unit(turn, results, plan.manner.separator, asking.send_back)
            if hid is not None:
                await plan.recall.keep(plan.client, plan.whose, asking.upstream.name, *hid)

    def _ending(self, turn: Turn, tail: bytes) -> Relay:
        """The last piece; the ending is told before it leaves."""
        last = tail + self.view.close()
        self.story.gives_bytes(text=self._text_seen)
        status = self._begin.status if self._begin else CLIENT_LEFT
        if turn.error is None:
            self.story.ends("completed", status)
        else:
            self.story.ends("failed", status, "upstream_error", SENT_ERROR.format(self.story.upstream))
        return Relay(last, last=True)

    def _failure(self, failure: UpstreamRefused | BridgeError) -> Iterator[Event]:
        """An error response where the head is not sent yet, else the event that ends the stream."""
        self._abandon()
        if self._begin is not None and self._begin.sent:
            self.story.fails(failure, self._begin.status)
            yield Relay(self.view.failure(failure), last=True)
            return
        if isinstance(failure, UpstreamRefused):
            status, headers, body = failure.status, list(failure.headers), failure.body
        else:
            status, headers = failure.kind.status, error_headers(failure)
            body = self._plan.dialect.error_body(failure)
        if self._tools_ran:
            headers = [pair for pair in headers if pair[0].lower() != SHOULD_RETRY]
            headers.append((SHOULD_RETRY, b"false"))  # a retry of the client's would run the tools twice
        self.story.fails(failure, status)
        self._begin = Begin(status, headers, self._asking.upstream.name, self.view)
        yield self._begin
        yield Relay(body, last=True)

    def _abandon(self) -> None:
        """A round that was cut short is told as far as it came."""
        if self._round is not None:
            self._cut_short(self._round.abandon())
            self._round = None

    def _cut_short(self, turn: Turn) -> None:
        """Tell a round that has no end, with its tokens estimated where the upstream did not count them."""
        if turn.usage.source == "missing":
            # About four bytes of a request, and one delta of an answer, make a token.
            asked = len(self._asking.request.body) // BYTES_PER_TOKEN
            turn.usage = Usage(input=asked, output=turn.pieces, source="estimated")
        self.story.round_ends(turn)

    def _invalid(self, reason: str) -> BridgeError:
        return Unusable(self._asking.upstream.name, reason)

    @property
    def _status(self) -> int:
        return self._begin.status if self._begin and self._begin.sent else CLIENT_LEFT
