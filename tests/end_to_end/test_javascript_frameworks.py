"""The Vercel AI SDK, and `runTools` of the OpenAI SDK: JavaScript that runs its tools itself."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.talking import MixedConversations, Program, Talk, client_program
from tests.support.bridge import Bridge
from tests.support.environment import END_TO_END, NODE_MODULES, NPM_CI, needs

WAYS = (
    "runTools",
    "runTools streamed",
    "ai-sdk compatible",
    "ai-sdk compatible with usage",
    "ai-sdk openai chat",
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    node = needs("node", "install Node.js 20 or newer")
    needs(NODE_MODULES / "ai", NPM_CI)
    with client_program(
        (node, END_TO_END / "js" / "converse.mjs"), tmp_path_factory.mktemp("home")
    ) as program:
        yield program


@pytest.fixture(params=WAYS)
def talk(request: pytest.FixtureRequest, program: Program, bridge: Bridge) -> Talk:
    return program.begin(request.param, bridge.base_url)


class TestJavaScriptFrameworks(MixedConversations):
    """All conversations, in every way."""
