"""What is said of the tools that exchanges are offered, worked out once and not for each of them.

The toolbox gives the same tuple of tools until something changes: by that it is known again.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

from aibridge.nouns import Tool

T = TypeVar("T")
MOST = 32
"""Tuples of which something is remembered: callers may have choices of their own."""


def once_for_tools(make: Callable[[Sequence[Tool]], T]) -> Callable[[Sequence[Tool]], T]:
    """`make`, which is asked once for each tuple; the tools are not looked at to find that out."""
    known: OrderedDict[int, tuple[Sequence[Tool], T]] = OrderedDict()

    def made(tools: Sequence[Tool]) -> T:
        found = known.get(id(tools))
        if found is not None and found[0] is tools:
            return found[1]
        result = make(tools)
        if isinstance(tools, tuple):  # what may change is not known again
            known[id(tools)] = tools, result  # and is kept, so that no other gets its id
            if len(known) > MOST:
                known.popitem(last=False)
        return result

    return made


@once_for_tools
def names_of_tools(tools: Sequence[Tool]) -> frozenset[str]:
    """Their names."""
    return frozenset(tool.name for tool in tools)
