"""What is asked of the contenders: each work is one kind of load, bounded in connections and in time."""

import json
from dataclasses import dataclass, replace

SENTENCE = "A lighthouse is built where ships come near to rocks that they cannot see in the night. "
PACED_EVENTS, PACED_GAP = 100, 20
"""Events of a paced stream and the milliseconds between them: 50 a second, as a quick model streams."""


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of load. `warm` seconds pass before the measured `seconds`; connections open over `ramp`."""

    name: str
    about: str
    model: str = "mock-plain"
    conns: int = 1
    events: int = 0
    """Of each stream; 0: the answer is JSON."""
    seconds: float = 2.0
    warm: float = 0.5
    ramp: float = 0.0
    messages: int = 1
    """Of the conversation, beside the system's."""
    message_bytes: int = 100
    paced: bool = False

    def body(self) -> bytes:
        """The request's body."""
        text = (SENTENCE * (self.message_bytes // len(SENTENCE) + 1))[: self.message_bytes]
        turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at in range(self.messages)]
        system = {"role": "system", "content": "You answer briefly, in plain words."}
        asked: dict[str, object] = {"model": self.model, "messages": [system, *turns], "temperature": 0.7}
        return json.dumps({**asked, "stream": True} if self.events else asked).encode()

    def shortened(self) -> "Work":
        """The same for a quick look."""
        return replace(self, seconds=self.seconds * 0.4, warm=self.warm * 0.4, ramp=self.ramp * 0.4)


def _paced(conns: int) -> Work:
    return Work(
        f"paced{conns}",
        f"{conns} streams of 50 events a second",
        model=f"mock-paced-{PACED_EVENTS}x{PACED_GAP}",
        conns=conns,
        events=PACED_EVENTS,
        seconds=3.0,
        warm=2.4,
        ramp=2.0,
        paced=True,
    )


def _open(conns: int) -> Work:
    """Streams of an event every two seconds: their number is the load, not their events."""
    return Work(
        f"open{conns}",
        f"{conns} open streams that say little",
        model="mock-paced-30x2000",
        conns=conns,
        events=30,
        seconds=2.0,
        warm=1.5 + conns / 250,
        ramp=conns / 250,
        paced=True,
    )


def _earlier(messages: int) -> Work:
    return Work(f"earlier{messages}", f"{messages} earlier messages", messages=messages, seconds=1.5)


PLAIN = Work("plain1", "one request at a time")
HIDDEN = Work("hidden1", "one request at a time, with a hidden round", model="mock-call")
FIRST = Work("first1", "one short stream at a time", model="mock-paced-5x2", events=5)
LONG = Work("long1", "one request at a time, 80 KB", messages=41, message_bytes=1950)
PLAIN64 = Work("plain64", "64 connections", conns=64)
BURST32 = Work(
    "burst32", "bursts of 256 events, 32 connections", model="mock-burst-256", conns=32, events=256
)
PACED = (_paced(100), _paced(500))
OPEN = (_open(10), _open(100), _open(1000), _open(2000))
EARLIER = (_earlier(1), _earlier(10), _earlier(100), _earlier(1000))

ALL = (PLAIN, HIDDEN, FIRST, LONG, PLAIN64, BURST32, *PACED, *EARLIER, *OPEN)
QUICK = ("plain1", "hidden1", "first1", "long1", "plain64", "burst32", "paced100")
MODELS = tuple(sorted({work.model for work in ALL}))
