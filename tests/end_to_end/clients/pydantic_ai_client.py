"""pydantic-ai: an agent with a tool, by `run_sync` and `run_stream`."""

import asyncio
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.end_to_end.clients import lines


def begin(way: str, base_url: str) -> lines.Say:
    """A conversation; the history is handed from run to run."""
    provider = OpenAIProvider(base_url=base_url, api_key="dummy")
    agent = Agent(OpenAIChatModel("scripted-1", provider=provider), tools=[lines.colour])
    history: list[Any] = []
    runner = asyncio.Runner()

    async def stream(prompt: str) -> tuple[str, list[Any]]:
        async with agent.run_stream(prompt, message_history=history) as result:
            return str(await result.get_output()), result.all_messages()

    def say(prompt: str) -> str:
        nonlocal history
        if way == "run_stream":
            output, history = runner.run(stream(prompt))
            return output
        ended = agent.run_sync(prompt, message_history=history)
        history = ended.all_messages()
        return str(ended.output)

    return say


lines.serve(begin)
