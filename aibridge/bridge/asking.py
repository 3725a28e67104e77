"""How the rounds of one exchange are asked: at which upstream, and in which words.

An upstream that refuses what aibridge added is asked once more without it: a recalled turn, the question for
usage, an injected tool, a field of a turn; the last three are learned where that helps (2-wire.md). One
that does not answer round 1 is left for the next fallback. When the same upstream is asked the same
again is its own business (`upstreams.attempts`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import structlog

from aibridge.bridge.plan import Plan, Prepared, prepare
from aibridge.bridge.ports import Answer, HeaderPairs
from aibridge.bridge.story import Story
from aibridge.dialects.base import Request, Turn
from aibridge.errors import BridgeError, Kind, UpstreamRefused
from aibridge.facts import Failure
from aibridge.nouns import NO_QUIRKS, Quirks, Result, SendBack, Tool, less

log = structlog.get_logger(__name__)
REFUSES_RECALL = frozenset({400, 413, 422})
REFUSES_ADDED = frozenset({400, 422})
OF_THE_UPSTREAM = frozenset({401, 402, 403, 408, 409, 429})
"""Statuses below 500 that another upstream may not have: those of keys are ours, see `Router.fallbacks`."""
NO_ANSWER = frozenset(
    {Kind.UPSTREAM_UNREACHABLE, Kind.UPSTREAM_INVALID, Kind.UPSTREAM_TIMEOUT, Kind.OVERLOADED}
)
USAGE = re.compile(rb"\b(?:stream_options|include_usage)\b")
TOOL_NUMBER = re.compile(rb"\btools(?:\[|\.)(\d+)")


class Unusable(BridgeError):
    """An answer came, and is none."""

    def __init__(self, upstream: str, reason: str) -> None:
        super().__init__(Kind.UPSTREAM_INVALID, f"upstream '{upstream}' {reason}")


class Asking:
    """Entered once a round it gives that round's answer; leaving it lets go of the connection."""

    def __init__(self, plan: Plan, story: Story) -> None:
        self.upstream, self.request = plan.upstream, plan.prepared.request
        self.first_failure: UpstreamRefused | BridgeError | None = None
        """Why the first upstream did not answer, while round 1 goes on."""
        self._plan, self._story = plan, story
        self._plain = plan.prepared.plain
        self._fallbacks = list(plan.fallbacks)
        self._quirks, self._found = plan.upstream.quirks, NO_QUIRKS
        self._model = plan.upstream.resolve(plan.client.asked.model)
        self._extend: Callable[[SendBack], Request] | None = None
        self._sent: AbstractAsyncContextManager[Answer]

    async def __aenter__(self) -> Answer:
        while True:
            self._sent = self.upstream.ask(
                self._plan.target,
                self._headers(),
                self.request.body,
                self._model,
                self._story,
            )
            try:
                answer = await self._sent.__aenter__()
            except UpstreamRefused as refused:
                if not await self._mends(refused):
                    raise
                continue
            self._learn()
            self._plain = None
            for note in answer.notes:
                self._story.note(note)
            return answer

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._sent.__aexit__(kind, value, trace)

    def _headers(self) -> HeaderPairs:
        """The client's, with the round's place in the trace where there is one."""
        trace = self._story.trace
        return (
            trace.onto(self._plan.headers, trace.round(self._story.rounds)) if trace else self._plan.headers
        )

    @property
    def send_back(self) -> SendBack:
        """Which unknown fields of a turn go back."""
        return less(self.upstream.send_back, self._quirks.fields)

    def extend(self, turn: Turn, results: Sequence[Result]) -> None:
        """The next round's request has the hidden turn and its results."""
        request = self.request
        self._extend = lambda send_back: request.extended(turn, results, send_back)
        self.request = self._extend(self.send_back)

    @property
    def may_fall_back(self) -> bool:
        """True where another upstream is left to ask."""
        return bool(self._fallbacks) and self._extend is None

    async def falls_back(self, failure: UpstreamRefused | BridgeError) -> bool:
        """Whether the next upstream is to be asked instead; then all begins anew with it."""
        if isinstance(failure, Unusable):
            told = Failure(self.upstream.name, self._model, "invalid", failure.message, 0)
            self._story.attempt_fails(told)
        if not self.may_fall_back or not _may_be_better_elsewhere(failure):
            return False
        self.first_failure = self.first_failure or failure
        left, self.upstream = self.upstream.name, self._fallbacks.pop(0)
        self._story.leaves(left)
        log.warning(
            "an upstream is left for the next", left=left, next=self.upstream.name, error=str(failure)
        )
        self._quirks, self._found = self.upstream.quirks, NO_QUIRKS
        self._model = self.upstream.resolve(self._plan.client.asked.model)
        self._take(await self._prepared())
        self._story.asks(self.upstream.name)
        return True

    def gives_up(self, first: UpstreamRefused | BridgeError) -> UpstreamRefused | BridgeError:
        """No upstream answered: what counts is the `first` one's failure."""
        self.upstream = self._plan.upstream
        self._story.asks(self.upstream.name)
        return first

    async def _prepared(self) -> Prepared:
        plan = self._plan
        return await prepare(plan.client, self.upstream, plan.tools, plan.recall, plan.whose, self._quirks)

    def _take(self, prepared: Prepared) -> None:
        self.request, self._plain = prepared.request, prepared.plain
        self._story.recalled_turns = prepared.recalled_turns

    async def _mends(self, refused: UpstreamRefused) -> bool:
        """Whether to ask once more, without what the refusal names or may mean."""
        found = self._named_in(refused) if refused.status in REFUSES_ADDED else NO_QUIRKS
        if found != NO_QUIRKS:
            self._found |= found
            self._quirks |= found
            await self._leave_out()
            return True
        if self._plain is not None and refused.status in REFUSES_RECALL:
            self.request, self._plain = self._plain, None
            self._story.recalled_turns = 0
            self._story.note("recall_refused")
            return True
        return False

    async def _leave_out(self) -> None:
        """The same round without what is refused."""
        if self._extend is None:
            self._take(await self._prepared())
            return
        request = self._extend(self.send_back)
        self.request = request.without_usage() if self._quirks.usage else request

    def _named_in(self, refused: UpstreamRefused) -> Quirks:
        """What of ours, and not left out yet, the refusal names."""
        body = refused.body
        asks_usage = self.request.without_usage() is not self.request
        tools = self._tools_named_in(body) if self._extend is None else ()
        fields = (name for name in self.request.sent_back() if _names(body, name))
        return Quirks(
            usage=asks_usage and USAGE.search(body) is not None,
            tools=frozenset(tools),
            fields=frozenset(fields) - self._quirks.fields,
        )

    def _tools_named_in(self, body: bytes) -> Iterator[Tool]:
        """Injected tools that are named, or counted as in `tools[3]`."""
        sent = [tool for tool in self._plan.tools if tool not in self._quirks.tools]
        yield from (tool for tool in sent if _names(body, tool.name))
        before = self._plan.client.tool_count
        for number in TOOL_NUMBER.findall(body):
            if before <= int(number) < before + len(sent):
                yield sent[int(number) - before]

    def _learn(self) -> None:
        """What was left out for this answer is left out for good."""
        if self._found is not NO_QUIRKS:
            self.upstream.learn(self._found)
            self._story.note("left out: " + ", ".join(self._found.words()))
            self._found = NO_QUIRKS


def _names(body: bytes, name: str) -> bool:
    return re.search(rb"(?<![\w-])" + re.escape(name.encode()) + rb"(?![\w-])", body) is not None


def _may_be_better_elsewhere(failure: UpstreamRefused | BridgeError) -> bool:
    if isinstance(failure, UpstreamRefused):
        return failure.status in OF_THE_UPSTREAM or failure.status >= 500
    return failure.kind in NO_ANSWER
