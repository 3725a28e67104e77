"""Ids of what aibridge makes: they sort by the time, and cost no system call each."""

import os
import time

VARIANTS = "89ab"
"""Of RFC 9562, in two bits of a hexadecimal digit."""
RANDOM_AT_ONCE = 256
_random: list[str] = []
"""Random parts of ids to come: asking the system lets go of the interpreter, and waits to get it back."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.clear)


def _random_part() -> str:
    try:
        return _random.pop()
    except IndexError:
        drawn = os.urandom(10 * RANDOM_AT_ONCE).hex()
        _random.extend(drawn[at : at + 20] for at in range(20, len(drawn), 20))
        return drawn[:20]


def new_id() -> str:
    """A UUIDv7 (RFC 9562): sorts by the time it was made."""
    time_part, random = f"{time.time_ns() // 1_000_000:012x}", _random_part()
    variant = VARIANTS[int(random[3], 16) & 3]
    return f"{time_part[:8]}-{time_part[8:]}-7{random[:3]}-{variant}{random[4:7]}-{random[7:19]}"
