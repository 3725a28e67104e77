"""LangChain, pydantic-ai and OpenAI's Agents SDK, which hold the conversation and run their tools themselves.

Their libraries live in an environment of their own (`make` lays it), so that ours stays small.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.talking import PROJECT, MixedConversations, Program, Talk, client_program
from tests.support.bridge import Bridge
from tests.support.environment import needs
from tests.support.serving import Model

PYTHON = PROJECT / ".venv-clients" / "bin" / "python"
WAYS = (
    "langchain invoke",
    "langchain stream",
    "pydantic_ai run_sync",
    "pydantic_ai run_stream",
    "openai_agents run",
    "openai_agents run_streamed",
)
TALKATIVE = tuple(way for way in WAYS if way != "pydantic_ai run_stream")
"""Ways that run the calls of a turn with text; pydantic-ai's run_stream takes that text for the answer."""


class Programs:
    """The client programs, each started when it is first wanted."""

    def __init__(self, home: Path, running: ExitStack) -> None:
        self._home, self._running = home, running
        self._programs: dict[str, Program] = {}

    def __getitem__(self, framework: str) -> Program:
        if framework not in self._programs:
            python = needs(PYTHON, "run `make .venv-clients/.installed`")
            command = (python, "-m", f"tests.end_to_end.clients.{framework}_client")
            self._programs[framework] = self._running.enter_context(client_program(command, self._home))
        return self._programs[framework]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with ExitStack() as running:
        yield Programs(tmp_path_factory.mktemp("home"), running)


@pytest.fixture(params=WAYS)
def talk(request: pytest.FixtureRequest, programs: Programs, bridge: Bridge) -> Talk:
    framework, way = request.param.split()
    return programs[framework].begin(way, bridge.base_url)


class TestPythonFrameworks(MixedConversations):
    """All conversations, with each framework, streaming and not."""

    @pytest.mark.parametrize("talk", TALKATIVE, indirect=True)
    def test_texts_that_the_client_saw_as_one_are_taken_apart_again(self, talk: Talk, model: Model) -> None:
        super().test_texts_that_the_client_saw_as_one_are_taken_apart_again(talk, model)
