"""Every asynchronous test here also checks that it leaves no task and no program behind."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aibridge.config import McpServer
from tests.tools.boxes import children, until


@pytest.fixture
def anyio_backend() -> str:
    """The only event loop that aibridge runs on."""
    return "asyncio"


def running() -> set[str]:
    """All tasks but those of anyio's test runner, which drives each phase of a test with one of its own."""
    names = {repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    return {name for name in names if "coro=<TestRunner." not in name}


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fails the test that leaves tasks or child processes."""
    programs = children()
    yield
    await until(lambda: children() <= programs, "the end of all programs")
    assert running() == set()


@pytest.fixture
def house_program() -> McpServer:
    """The house of house.py as a program."""
    root = Path(__file__).parents[2]
    return McpServer(command=sys.executable, args=["-m", "tests.tools.house"], cwd=str(root))
