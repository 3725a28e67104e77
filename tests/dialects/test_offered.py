"""What is said of offered tools is worked out once for each tuple of them, and for no other."""

from collections.abc import Callable, Sequence

from aibridge.dialects.offered import MOST, names_of_tools, once_for_tools
from aibridge.nouns import Tool


def _tools(*names: str) -> tuple[Tool, ...]:
    return tuple(Tool(f"s__{name}", "s", name, "", {}) for name in names)


def _counting() -> tuple[Callable[[Sequence[Tool]], int], list[Sequence[Tool]]]:
    """How many tools there are, asked once for each tuple; and the tuples that were looked at."""
    looked: list[Sequence[Tool]] = []

    def count(tools: Sequence[Tool]) -> int:
        looked.append(tools)
        return len(tools)

    return once_for_tools(count), looked


def test_the_same_tuple_is_looked_at_once_and_an_equal_one_by_itself() -> None:
    count, looked = _counting()
    one, other = _tools("a", "b"), _tools("a", "b")
    assert [count(one), count(one), count(other), count(one)] == [2, 2, 2, 2]
    assert [id(tools) for tools in looked] == [id(one), id(other)]


def test_what_may_change_is_looked_at_each_time() -> None:
    tools = list(_tools("a"))
    assert names_of_tools(tools) == {"s__a"}
    tools += _tools("b")
    assert names_of_tools(tools) == {"s__a", "s__b"}


def test_of_many_tuples_the_oldest_are_let_go() -> None:
    count, looked = _counting()
    first, last = _tools("first"), _tools("last")
    for tools in (first, *(_tools(str(number)) for number in range(MOST - 1)), last):
        count(tools)
    del looked[:]
    assert (count(last), count(first)) == (1, 1)
    assert looked == [first]
