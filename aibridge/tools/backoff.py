"""How long to wait before trying again: doubling, with jitter so that many servers do not try at once."""

import random


class Backoff:
    """Waits between attempts, from `first` to `longest` seconds; `slow` ones after `most` short lives."""

    def __init__(self, first: float, longest: float, most: int | None = None, slow: float = 0.0) -> None:
        self._first, self._longest, self._most, self._slow = first, longest, most, slow
        self._next = first
        self.short_lives = 0
        """In a row."""

    @property
    def is_slow(self) -> bool:
        """Whether it has ended so often that it is only tried now and then."""
        return self._most is not None and self.short_lives >= self._most

    def after(self, lived: float) -> float:
        """Seconds to wait after an attempt that lived so many seconds; a long life starts over.

        What connects and dies at once is not hammered: only a life of `longest` seconds counts as success.
        """
        self.short_lives += 1
        if lived >= self._longest:
            self._next, self.short_lives = self._first, 0
        if self.is_slow:
            return self._slow * random.uniform(0.5, 1.5)
        wait, self._next = self._next, min(self._next * 2, self._longest)
        return wait * random.uniform(0.5, 1.5)
