"""How many examples a property is tried with: few in the normal run, ten times as many in `make soak`."""

import os

_MORE = int(os.environ.get("AIBRIDGE_EXAMPLES", "10" if os.environ.get("AIBRIDGE_SOAK") else "1"))


def examples(normally: int) -> int:
    """`AIBRIDGE_EXAMPLES=50` multiplies by another number."""
    return normally * _MORE
