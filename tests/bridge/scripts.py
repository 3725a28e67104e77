"""Random scripts: rounds of calls and texts, cut and faulty in any way, and a client that may leave."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from hypothesis import strategies as st

from tests.bridge.saying import Said, Turn, reply, tool
from tests.bridge.stage import JSON, SSE, Reply, Upstream

Json = dict[str, Any]
FaultKind = Literal["cut", "ends", "error", "refused", "empty", "html", "other form"]
INJECTED = ("time__now", "time__now_utc", "time__fails", "time__unknown")
CLIENTS = ("read_file", "time", "timer")
"""Names of the client's tools; injected ones begin with some of them."""
ERROR = b'data: {"error": {"message": "overloaded", "type": "server_error", "param": null, "code": null}}\n\n'
REFUSAL = b'{"error": {"message": "slow down", "type": "requests", "param": null, "code": "rate_limit"}}'
LONGEST = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong in which round; `at` says where, as a share of the round's bytes or events."""

    kind: FaultKind
    round: int
    at: float


@dataclass(frozen=True, slots=True)
class Script:
    """One exchange from both ends."""

    turns: tuple[Turn, ...]
    """The last one ends the exchange, and no other."""
    streamed: bool
    usage_asked: bool
    json_wanted: bool
    seed: int
    fault: Fault | None = None
    leaves_after: int | None = None

    @property
    def text(self) -> str:
        """What the client reads."""
        turns = self.turns[-1:] if self.json_wanted else self.turns
        return "\n\n".join(turn.text for turn in turns if turn.text)

    @property
    def request(self) -> Json:
        """What the client asks."""
        body: Json = {"model": "m-1", "messages": [{"role": "user", "content": "What time is it?"}]}
        body["tools"] = [tool(name) for name in CLIENTS]
        if self.streamed:
            body["stream"] = True
        if self.streamed and self.usage_asked:
            body["stream_options"] = {"include_usage": True}
        if self.json_wanted:
            body["response_format"] = {"type": "json_object"}
        return body

    def upstream(self, *, whole: bool = False) -> Upstream:
        """The upstream that plays it; `whole`: the same deltas, but each answer in one piece."""
        replies = []
        for number, turn in enumerate(self.turns, 1):
            given = reply(turn, number, streamed=self.streamed, seed=self.seed + number)
            if self.fault and self.fault.round == number:
                given = _broken(given, self.fault, streamed=self.streamed)
            replies.append(_in_one_piece(given) if whole else given)
        return Upstream(replies)


def injected(turn: Turn) -> list[Said]:
    """The calls of a turn that the client must not see."""
    return [call for call in turn.calls if call.name in INJECTED]


def clients(turn: Turn) -> list[Said]:
    """The calls of a turn that are the client's."""
    return [call for call in turn.calls if call.name in CLIENTS]


def _broken(given: Reply, fault: Fault, *, streamed: bool) -> Reply:
    data = b"".join(given.pieces)
    at = int(fault.at * len(data))
    match fault.kind:
        case "cut":
            return replace(given, pieces=_until(given.pieces, at), cut=True)
        case "ends":
            return replace(given, pieces=_until(given.pieces, at))
        case "error":
            events = [event + b"\n\n" for event in data.split(b"\n\n")[:-2]]
            kept = events[: int(fault.at * len(events))] if streamed else []
            return replace(given, pieces=[*kept, ERROR if streamed else REFUSAL])
        case "refused":
            return Reply([REFUSAL], media=JSON, status=429, headers={"retry-after": "7"})
        case "html":
            return Reply([b"<html>\n\n<body>Login</body></html>"], media="text/html")
        case "other form":
            other = reply(Turn("hello"), streamed=not streamed)
            return replace(given, media=JSON if streamed else SSE, pieces=other.pieces)
    return replace(given, pieces=[])


def _until(pieces: Sequence[bytes], at: int) -> list[bytes]:
    kept = []
    for piece in pieces:
        kept.append(piece[:at])
        at = max(0, at - len(piece))
    return [piece for piece in kept if piece]


def _in_one_piece(given: Reply) -> Reply:
    data = b"".join(given.pieces)
    return replace(given, pieces=[data] if data else [])


TEXTS = st.sampled_from(["", "", "Let me see. ", "It is 12:00.\n", 'né 🕛 "so" \\n data: [DONE]', " \n\n"])
USAGES = st.tuples(st.integers(1, 1000), st.integers(0, 100))


@st.composite
def _turns(draw: st.DrawFn) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    hidden = draw(st.integers(0, LONGEST))
    for number in range(1, hidden + 1):
        names = draw(st.lists(st.sampled_from(INJECTED), min_size=1, max_size=3))
        turns.append(_turn(draw, number, names))
    names = draw(st.lists(st.sampled_from(CLIENTS + INJECTED), max_size=4))
    if not set(names) & set(CLIENTS):
        names = []
    return (*turns, _turn(draw, hidden + 1, names))


def _turn(draw: st.DrawFn, number: int, names: Sequence[str]) -> Turn:
    calls = tuple(_call(draw, number, at, name) for at, name in enumerate(names))
    extra = draw(st.sampled_from([(), (("reasoning_content", "Hm."),)]))
    return Turn(draw(TEXTS), calls, draw(USAGES), extra=extra)


def _call(draw: st.DrawFn, number: int, at: int, name: str) -> Said:
    whose = "inj" if name in INJECTED else "own"
    # Another number in every round: three equal rounds would reach a cap.
    arguments = [f'{{"n": {number}}}', f'{{ "n" :{number}, "é": "\\u00e9" }}', f'{{"n": {number}', ""]
    return Said(f"call_{whose}_{number}_{at}", name, draw(st.sampled_from(arguments)))


FAULTS = st.builds(
    Fault,
    st.sampled_from(["cut", "ends", "error", "refused", "empty", "html", "other form"]),
    st.integers(1, LONGEST),
    st.floats(0, 1, exclude_max=True),
)
SOUND = st.builds(Script, _turns(), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 1 << 16))
FAULTY = st.builds(lambda script, fault: replace(script, fault=fault), SOUND, FAULTS)
LEFT = st.builds(
    lambda script, after: replace(script, leaves_after=after), SOUND | FAULTY, st.integers(1, 12)
)
