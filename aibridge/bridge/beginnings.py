"""Beginnings of conversations that were looked through before: a request brings its whole one, ever longer.

What answers hid is looked for by keys (`answers`), and making these costs as much as all else that is done
to a long conversation. What was found out of a beginning stays true, since an answer's hidden turns are kept
before its client can send it back: so only what is new is looked through. A beginning is known again by its
bytes, in steps of STEP, and by whose it is.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from msgspec import Struct

from aibridge.bridge.answers import WINDOW, Answers
from aibridge.wire.json_text import item_places

STEP = 2048
"""Bytes."""
NEW = 4
"""Beginnings of one request that are remembered: the next one goes on from one of the last."""
MOST = 8192
"""Beginnings and keys in them that are remembered, together some megabytes."""


class Beginning(Struct, frozen=True):
    """Messages of a conversation, from its first one on."""

    place: int = 0
    """Of the message after them."""
    offset: int = 1
    """Where that stands in the text."""
    window: tuple[bytes, ...] = ()
    """What the last of them said."""
    found: Mapping[int, bytes] = {}
    """The keys of the answers among them that hid something, by their places; the others did not."""

    @property
    def weight(self) -> int:
        """For MOST."""
        return 1 + len(self.found)


class History(Struct, frozen=True):
    """The text of a conversation, how it begins, and what of that is known."""

    text: bytes
    marks: Sequence[int]
    """A number for each step of the text, made of all bytes up to its end."""
    known: int
    """How many of these steps the beginning takes that is known."""
    beginning: Beginning


class Beginnings:
    """Those that were looked through last."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, Beginning] = OrderedDict()
        self._weight = 0

    def begin(self, owner: bytes, text: bytes) -> History:
        """The conversation `text`, an array of messages, with the longest beginning of it that is known."""
        marks = _marks(owner, text)
        for known in range(len(marks), 0, -1):
            beginning = self._known.get(marks[known - 1])
            if beginning is not None:
                self._known.move_to_end(marks[known - 1])
                return History(text, marks, known, beginning)
        return History(text, marks, 0, Beginning())

    def learn(self, history: History, answers: Answers, hid: frozenset[bytes]) -> None:
        """After `history.beginning` came `answers`, of which those with the keys `hid` hid something."""
        new = range(max(history.known, len(history.marks) - NEW) + 1, len(history.marks) + 1)
        if not new or not answers.places:
            return
        before = history.beginning
        items = item_places(b"[" + history.text[before.offset :])
        starts, ends = zip(*(items[place - before.place] for place in answers.places), strict=True)
        moved = before.offset - 1
        for known in new:
            # The message after a beginning stands whole in these bytes: where it may go on with the turn
            # before it, it is known that it does not.
            number = min(bisect_right(ends, known * STEP - moved) - 1, len(answers.said))
            if number > 0:
                place = answers.places[number]
                keys = {at: key for at, key in answers.keys.items() if at < place and key in hid}
                said = (*before.window, *answers.said[:number])[-WINDOW:]
                found = {**before.found, **keys} if keys else before.found
                self._keep(history.marks[known - 1], Beginning(place, moved + starts[number], said, found))

    def forget(self) -> None:
        """Nothing is known any more."""
        self._known.clear()
        self._weight = 0

    def _keep(self, mark: int, beginning: Beginning) -> None:
        old = self._known.pop(mark, None)
        self._weight += beginning.weight - (old.weight if old else 0)
        self._known[mark] = beginning
        while self._weight > MOST:
            self._weight -= self._known.popitem(last=False)[1].weight


def _marks(owner: bytes, text: bytes) -> list[int]:
    """Python's own hash is several times faster than a digest, and keyed by a secret of the process."""
    mark = hash(owner)
    marks: list[int] = []
    for at in range(0, len(text) - STEP + 1, STEP):
        mark = hash((mark, text[at : at + STEP]))
        marks.append(mark)
    return marks
