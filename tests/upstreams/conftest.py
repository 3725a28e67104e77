"""Fixtures for tests that talk to the transport on the loops that it runs on."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on a loop of its own; no task may be left."""

    def on_loop(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            result = runner.run(main)
            left = [task.get_name() for task in asyncio.all_tasks(runner.get_loop())]
            assert all(name.startswith("Task-") for name in left), left  # those are asyncio's own
            return result

    return on_loop
