"""Conversations of several user turns, in which the model calls aibridge's tools and the client's at once.

The client runs its own tool, `colour`, and comes back by itself; what was asked of the model tells
whether aibridge put everything in its place. A test module gives the fixture `talk`, a new conversation.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from tests.end_to_end.asking import Ask, Json
from tests.end_to_end.conversations import COLOUR, answered, result, said
from tests.support.bridge import Bridge
from tests.support.environment import END_TO_END, clean_env
from tests.support.serving import Model
from tests.support.waiting import eventually

PROJECT = END_TO_END.parent.parent
SHADES = {"dark": "navy", "light": "azure"}
MIXED = 'call add {"a":1,"b":2} and call colour {"shade":"dark"} and call weather {"city":"Oslo"}'
MIXED_ANSWER = "add answered: 3\ncolour answered: navy\nweather answered: rain, -4 °C in Oslo"
HIDDEN_THEN_MIXED = (
    'call add {"a":3,"b":4} then call colour {"shade":"light"} and call add {"a":5,"b":6}'
    ' and call colour {"shade":"dark"}'
)
HIDDEN_THEN_MIXED_ANSWER = "add answered: 7\ncolour answered: azure\nadd answered: 11\ncolour answered: navy"
"""The model quotes all that it knows: what was hidden from the client too."""
TEXTS = (
    'say First. and call add {"a":3,"b":4} then say Second. and call colour {"shade":"dark"}'
    ' and call add {"a":5,"b":6}'
)
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Said:
    """What the user got: the final answer, and what the client's own tool was asked for on the way."""

    answer: str
    ran: list[str]


Talk = Callable[[str], Said]
"""The user's next words in a conversation."""


def opening(prompt: str) -> str:
    """First words that no other conversation has; the scripted model's call ids are as unique as they."""
    return f"This is conversation {next(_numbers)}.\n{prompt}"


def looping(ask: Ask, base_url: str, colour: Callable[[str], str] = SHADES.__getitem__) -> Talk:
    """A conversation as users of a plain SDK hold it: they keep the messages and run the calls."""
    messages: list[Json] = []

    def talk(prompt: str) -> Said:
        messages.append(said(prompt))
        ran: list[str] = []
        while True:
            answer = answered(ask, base_url, *messages, tools=[COLOUR])
            messages.append(answer.message)
            if not answer.calls:
                return Said(answer.text, ran)
            shades = [json.loads(arguments)["shade"] for _, arguments in answer.calls]
            messages.extend(result(answer, colour(shade), at) for at, shade in enumerate(shades))
            ran.extend(shades)

    return talk


class Program:
    """A client program that holds conversations for us, one line of JSON in and one out at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def begin(self, way: str, base_url: str) -> Talk:
        """A new conversation, held in one of the client's ways."""
        new = True

        def talk(prompt: str) -> Said:
            nonlocal new
            told = self._exchange({"way": way, "base_url": base_url, "prompt": prompt, "new": new})
            new = False
            assert "failed" not in told, told["failed"]
            return Said(**told)

        return talk

    def _exchange(self, told: Json) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{self._process.args!r} ended; its stderr is above"
        return json.loads(line)


@contextmanager
def client_program(command: Sequence[str | Path], home: Path) -> Iterator[Program]:
    """Run a client program in the project's folder, with an empty home, until the block ends."""
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env=clean_env(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Program(process)


def messages_of(model: Model) -> list[list[Json]]:
    """The messages of every request that reached the model, oldest first; all of them were accepted."""
    assert {each.status for each in model.asked} == {200}
    return [each.body["messages"] for each in model.asked]


def recalled_turns(bridge: Bridge, model: Model) -> list[int]:
    """How many hidden turns were put back in each exchange, as the records say; the last had one round."""
    answers = [f"chatcmpl-{each.digest[:24]}" for each in model.asked]

    def recorded() -> list[Json]:
        rows = [row for row in bridge.rows("exchanges") if row["response_id"] in answers]
        return rows if rows and rows[-1]["response_id"] == answers[-1] else []

    return [row["recalled_turns"] for row in eventually(recorded, what="the records")]


def assert_whole(messages: list[Json], *calls: tuple[str, str]) -> None:
    """The messages end with one assistant message that has all `calls`, and their results in call order."""
    assistant, *results = messages[max(at for at, each in enumerate(messages) if each.get("tool_calls")) :]
    names = [call["function"]["name"].rpartition("__")[2] for call in assistant["tool_calls"]]
    assert names == [name for name, _ in calls]
    assert [each["tool_call_id"] for each in results] == [call["id"] for call in assistant["tool_calls"]]
    assert [each["content"].strip() for each in results] == [content for _, content in calls]


def assert_each_begins_with_the_one_before(asked: list[list[Json]]) -> None:
    """What makes the upstream's prompt cache hit: nothing that was said once is said otherwise later."""
    for earlier, later in pairwise(asked):
        assert later[: len(earlier)] == earlier


class MixedConversations:
    """The conversations that every client must be able to have."""

    def test_a_turn_with_both_kinds_of_calls_reaches_the_model_whole(self, talk: Talk, model: Model) -> None:
        assert talk(opening(MIXED)) == Said(MIXED_ANSWER, ["dark"])
        _, told = messages_of(model)
        assert_whole(told, ("add", "3"), ("colour", "navy"), ("weather", "rain, -4 °C in Oslo"))

    def test_a_conversation_of_several_turns_is_remembered_as_it_was(
        self, talk: Talk, model: Model, bridge: Bridge
    ) -> None:
        assert talk(opening(MIXED)) == Said(MIXED_ANSWER, ["dark"])
        said = talk(HIDDEN_THEN_MIXED)
        assert said.answer == HIDDEN_THEN_MIXED_ANSWER
        assert sorted(said.ran) == ["dark", "light"], "clients may run their calls of a turn at the same time"
        assert talk("say Bye.") == Said("Bye.", [])
        asked = messages_of(model)
        assert [each.round for each in model.asked] == [1, 2, 1, 2, 3, 1]
        assert_whole(asked[4], ("colour", "azure"), ("add", "11"), ("colour", "navy"))
        assert_each_begins_with_the_one_before(asked)
        assert len({json.dumps(each.body["tools"]) for each in model.asked}) == 1
        assert recalled_turns(bridge, model) == [0, 1, 1, 3, 3]

    def test_texts_that_the_client_saw_as_one_are_taken_apart_again(self, talk: Talk, model: Model) -> None:
        talk(opening(TEXTS))
        talk("say Bye.")
        asked = messages_of(model)
        said = [message["content"] for message in asked[-1] if message["role"] == "assistant"]
        assert said[:2] == ["First.", "Second."]
        assert_each_begins_with_the_one_before(asked)
