"""OpenAI's Agents SDK on chat completions and responses: `run` and `run_streamed` with a session."""

import asyncio

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

from tests.end_to_end.clients import lines


def begin(way: str, base_url: str) -> lines.Say:
    """A conversation; the session remembers it."""
    client = AsyncOpenAI(base_url=base_url, api_key="dummy")
    kind = OpenAIResponsesModel if way.startswith("responses_") else OpenAIChatCompletionsModel
    model = kind(model="scripted-1", openai_client=client)
    agent = Agent(name="a", instructions="Be brief.", model=model, tools=[function_tool(lines.colour)])
    session = SQLiteSession("conversation")
    runner = asyncio.Runner()

    async def run(prompt: str) -> str:
        if way.removeprefix("responses_") == "run":
            return str((await Runner.run(agent, prompt, session=session)).final_output)
        streamed = Runner.run_streamed(agent, prompt, session=session)
        async for _ in streamed.stream_events():
            pass
        return str(streamed.final_output)

    return lambda prompt: runner.run(run(prompt))


set_tracing_disabled(True)
lines.serve(begin)
