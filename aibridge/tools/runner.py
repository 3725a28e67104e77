"""Runs the injected calls of one turn at the same time: every call gets exactly one result.

What a call does is a function that is given; this knows arguments, order, limits and cancelling, and no MCP.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn

import structlog

from aibridge import tasks
from aibridge.nouns import Call, CallStatus, Result, Tool
from aibridge.tools.failures import CallFailed
from aibridge.tools.results import ERROR, cut, result_text
from aibridge.tools.tracing import placed

Invoke = Callable[[Tool, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Runs a tool: the wire form of its result, or CallFailed."""
Clean = Callable[[Tool, str], str]
"""What a tool said of its failure, for the record: one sentence without secrets."""
CallFinished = Callable[[Call, Result], None]

log = structlog.get_logger(__name__)


class InvalidArguments(ValueError):
    """The model's arguments are not a JSON object."""


class Turn:
    """The calls of one turn, run once."""

    def __init__(
        self,
        calls: Sequence[Call],
        tools: Sequence[Tool],
        finished: CallFinished,
        invoke: Invoke,
        clean: Clean,
        *,
        at_a_time: int,
        limit: int,
    ) -> None:
        """At most `at_a_time` calls run at a time; results have at most `limit` characters."""
        self._calls, self._finished, self._invoke, self._limit = calls, finished, invoke, limit
        self._clean = clean
        self._tools = {tool.name: tool for tool in tools}
        self._gate = asyncio.Semaphore(at_a_time)
        self._begun = [time.time()] * len(calls)
        self._results: dict[int, Result] = {}

    async def run(self) -> list[Result]:
        """Results in call order. When cancelled, calls without a result are told as `cancelled`."""
        if not self._calls:
            return []
        running = [
            tasks.start(self._one(at, call), f"call:{call.name}") for at, call in enumerate(self._calls)
        ]
        try:
            await asyncio.wait(running)
        finally:
            try:
                await tasks.stop(*running)
            finally:
                self._tell_cancelled()
        return [self._results[at] for at in range(len(self._calls))]

    async def _one(self, at: int, call: Call) -> None:
        async with self._gate:
            self._begun[at] = time.time()
            status, text, error = await self._outcome(call)
        self._settle(at, status, text, error)

    async def _outcome(self, call: Call) -> tuple[CallStatus, str, str | None]:
        """Status, text for the model, and one sentence for the record where it is not well."""
        tool = self._tools.get(call.name)
        if tool is None:
            return _failure("error", f"There is no tool named {call.name!r}.")
        try:
            arguments = parsed(call.arguments)
            with placed(call.traceparent):
                result = await self._invoke(tool, arguments)
        except InvalidArguments as error:
            status, text, sentence = _failure("invalid_arguments", f"{error} Nothing was called.")
            return status, cut(f"{text} The arguments were: {call.arguments}", self._limit), sentence
        except CallFailed as failure:
            return _failure(failure.status, failure.sentence)
        except Exception as error:
            log.exception("tool call failed unexpectedly", server=tool.server, tool=tool.own_name)
            return _failure("error", f"The tool {tool.name!r} failed unexpectedly ({type(error).__name__}).")
        text = result_text(result, self._limit)
        if result.get("isError"):
            return "error", text, self._clean(tool, text.removeprefix(ERROR))
        return "ok", text, None

    def _settle(self, at: int, status: CallStatus, text: str, error: str | None) -> None:
        begun = self._begun[at]
        took = max(0, round((time.time() - begun) * 1000))
        call = self._calls[at]
        self._results[at] = result = Result(call.id, text, status, begun, took, error)
        self._finished(call, result)

    def _tell_cancelled(self) -> None:
        for at in range(len(self._calls)):
            if at not in self._results:
                self._settle(at, *_failure("cancelled", "The call was cancelled."))


def parsed(arguments: str | None) -> dict[str, Any]:
    """The arguments as a dict; nothing and `null` are none. Raises InvalidArguments."""
    if arguments is None or not arguments.strip():
        return {}
    try:
        value = _read(arguments)
    except (ValueError, RecursionError):
        raise InvalidArguments("The arguments are not valid JSON.") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArguments("The arguments have to be a JSON object.")
    return value


def _not_json(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity, which Python reads and servers refuse


_read = json.JSONDecoder(parse_constant=_not_json).decode


def _failure(status: CallStatus, sentence: str) -> tuple[CallStatus, str, str]:
    return status, ERROR + sentence, sentence
