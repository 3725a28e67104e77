"""How long to wait before trying again: doubling, with jitter so that many servers do not try at once."""

import random


class Backoff:
    """Waits between attempts, from `first` to `longest` seconds."""

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._next = first

    def after(self, lived: float) -> float:
        """Seconds to wait after an attempt that lived so many seconds; a long life starts over.

        What connects and dies at once is not hammered: only a life of `longest` seconds counts as success.
        """
        if lived >= self._longest:
            self._next = self._first
        wait, self._next = self._next, min(self._next * 2, self._longest)
        return wait * random.uniform(0.5, 1.5)
