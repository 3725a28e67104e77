"""What a scripted model says, as the bodies and events in which providers send it."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.bridge.stage import JSON, Reply

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"
DEFAULT_USAGE = (10, 2)


@dataclass(frozen=True, slots=True)
class Said:
    """A call that the model makes."""

    id: str
    name: str
    arguments: str = "{}"

    @property
    def message(self) -> Json:
        """As it stands in a message."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model says in one round."""

    text: str = ""
    calls: tuple[Said, ...] = ()
    usage: tuple[int, int] = DEFAULT_USAGE
    finish: str | None = None
    """Another finish reason than the usual one."""
    extra: tuple[tuple[str, Any], ...] = ()
    """Further fields of the message."""

    @property
    def reason(self) -> str:
        """The finish reason."""
        return self.finish or ("tool_calls" if self.calls else "stop")


def usage_of(turn: Turn) -> Json:
    """The usage object of a turn."""
    given, said = turn.usage
    return {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}


def completion(turn: Turn, number: int = 1) -> bytes:
    """A turn as a body."""
    message = {"role": "assistant", "content": turn.text or None, **dict(turn.extra)}
    if turn.calls:
        message["tool_calls"] = [call.message for call in turn.calls]
    choice = {"index": 0, "message": message, "finish_reason": turn.reason}
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": number, "model": "m-1"}
    return json.dumps({**head, "choices": [choice], "usage": usage_of(turn)}).encode()


def events(turn: Turn, number: int = 1, dice: random.Random | None = None) -> list[bytes]:
    """A turn as events; `dice` cuts and shuffles it as providers may."""
    texts = [turn.text] if turn.text and dice is None else _cut(turn.text, dice or random.Random())
    calls = _call_pieces(turn.calls, dice) if dice else _plain_pieces(turn.calls)
    told = [chunk(number, {"role": "assistant", "content": ""})]
    told += [chunk(number, {"content": piece}) for piece in texts]
    told += [chunk(number, {name: value}) for name, value in turn.extra]
    told += [chunk(number, {"tool_calls": pieces}) for pieces in calls]
    told.append(chunk(number, {}, turn.reason))
    told.append(event(number, choices=[], usage=usage_of(turn)))
    return [*told, DONE]


def _plain_pieces(calls: tuple[Said, ...]) -> Iterator[list[Json]]:
    """As OpenAI sends them: the name, then the arguments."""
    for index, call in enumerate(calls):
        function = {"name": call.name, "arguments": ""}
        yield [{"index": index, "id": call.id, "type": "function", "function": function}]
        yield [{"index": index, "function": {"arguments": call.arguments}}]


def _call_pieces(calls: tuple[Said, ...], dice: random.Random) -> Iterator[list[Json]]:
    """Deltas of calls: names one after the other, arguments interleaved or several in one delta."""
    waiting: list[list[Json]] = []
    begun = 0
    while begun < len(calls) or any(waiting):
        open_ = [pieces for pieces in waiting if pieces]
        if begun < len(calls) and (not open_ or dice.random() < 0.3):
            head, rest = _pieces_of(begun, calls[begun], dice)
            yield from ([piece] for piece in head)
            waiting.append(rest)
            begun += 1
        elif open_:
            several = len(open_) > 1 and dice.random() < 0.3
            yield [pieces.pop(0) for pieces in (open_ if several else [dice.choice(open_)])]


def _pieces_of(index: int, call: Said, dice: random.Random) -> tuple[list[Json], list[Json]]:
    """The deltas with the name, and those with the arguments."""
    # openai-node keeps a name's last piece alone: providers cut no name that it has to read.
    hidden = "__" in call.name
    first, *names = _cut(call.name, dice) if hidden and dice.random() < 0.3 else [call.name]
    begun: Json = {"index": index, "id": call.id, "type": "function"}
    if not names and dice.random() < 0.2:
        return [{**begun, "function": {"name": first, "arguments": call.arguments}}], []
    begun["function"] = {"name": first, "arguments": ""}
    head = [begun, *({"index": index, "function": {"name": name}} for name in names)]
    return head, [{"index": index, "function": {"arguments": each}} for each in _cut(call.arguments, dice)]


def _cut(text: str, dice: random.Random) -> list[str]:
    pieces = []
    while text:
        length = dice.randint(1, 12)
        pieces.append(text[:length])
        text = text[length:]
    return pieces


def chunk(number: int, delta: Json, reason: str | None = None) -> bytes:
    """An event with one delta."""
    return event(number, choices=[{"index": 0, "delta": delta, "finish_reason": reason}])


def event(number: int, **fields: Any) -> bytes:
    """An event of the answer with this number."""
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": number, "model": "m-1"}
    return b"data: " + json.dumps({**head, **fields}, ensure_ascii=False).encode() + b"\n\n"


def reply(turn: Turn, number: int = 1, *, streamed: bool = True, seed: int | None = None) -> Reply:
    """A turn as the upstream's answer; with a seed its deltas and bytes are cut."""
    dice = random.Random(seed)
    if not streamed:
        body = completion(turn, number)
        return Reply([body] if seed is None else _chopped(body, dice), media=JSON)
    told = events(turn, number, None if seed is None else dice)
    return Reply(told if seed is None else _chopped(b"".join(told), dice))


def replies(*turns: Turn, streamed: bool = True) -> list[Reply]:
    """Turns as the answers of consecutive rounds."""
    return [reply(turn, number, streamed=streamed) for number, turn in enumerate(turns, 1)]


def _chopped(data: bytes, dice: random.Random) -> list[bytes]:
    pieces = []
    while data:
        length = dice.randint(1, 200)
        pieces.append(data[:length])
        data = data[length:]
    return pieces


def tool(name: str) -> Json:
    """A tool of the client's."""
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}
