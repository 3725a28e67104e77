"""LangChain: `invoke` and `stream`, with the loop that its users write."""

from functools import reduce
from operator import add
from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.end_to_end.clients import lines


def begin(way: str, base_url: str) -> lines.Say:
    """A conversation; the messages are LangChain's own."""
    colour = tool(lines.colour)
    model = ChatOpenAI(model="scripted-1", base_url=base_url, api_key="dummy").bind_tools([colour])
    messages: list[Any] = []

    def answer() -> Any:
        return model.invoke(messages) if way == "invoke" else reduce(add, model.stream(messages))

    def say(prompt: str) -> str:
        messages.append(HumanMessage(prompt))
        messages.append(answer())
        while calls := messages[-1].tool_calls:
            results = [ToolMessage(colour.invoke(call["args"]), tool_call_id=call["id"]) for call in calls]
            messages.extend(results)
            messages.append(answer())
        return str(messages[-1].content)

    return say


lines.serve(begin)
