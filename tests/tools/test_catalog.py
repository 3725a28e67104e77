"""Which tools are injected, under which names, and why others are not."""

from typing import Any

import pytest

from aibridge.nouns import Offer, Rights
from aibridge.tools.catalog import LONGEST_CHOICE, MOST_CHOICES, Catalog, Rules
from aibridge.tools.definitions import Definition, Listing, is_destructive

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "$defs": {"b": {}}}


def tool(name: str, **more: Any) -> Definition:
    return Definition(name, f"about {name}", SCHEMA, **more)


def catalog_of(listed: dict[str, list[Definition]], rules: dict[str, Rules]) -> Catalog:
    return Catalog({server: Listing(tuple(tools)) for server, tools in listed.items()}, rules)


def names(catalog: Catalog, wanted: str | None = None) -> list[str]:
    return [each.name for each in catalog.offer(wanted)]


MANY = catalog_of({"web": [tool("get"), tool("find.all")], "time": [tool("now")]}, {})


def test_tools_are_sorted_by_their_injected_names() -> None:
    assert names(MANY) == ["time__now", "web__find_all_04e2abc8", "web__get"]


def test_the_schema_and_description_stay_whole() -> None:
    [now] = MANY.offer("time")
    assert now.input_schema is SCHEMA
    assert (now.description, now.server, now.own_name) == ("about now", "time", "now")


@pytest.mark.parametrize("schema", [{"type": "object"}, {}])
def test_an_object_without_properties_gets_none(schema: dict[str, Any]) -> None:
    catalog = catalog_of({"s": [Definition("t", "", schema)]}, {})
    assert catalog.offer()[0].input_schema == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (Rules(), ["s__delete_all", "s__get"]),
        (Rules(allow=["g*"]), ["s__get"]),
        (Rules(deny=["delete_*"]), ["s__get"]),
        (Rules(allow=["*"], deny=["*"]), []),
        (Rules(allow=[]), []),
    ],
)
def test_deny_wins_over_allow(rules: Rules, left: list[str]) -> None:
    assert names(catalog_of({"s": [tool("get"), tool("delete_all")]}, {"s": rules})) == left


def test_a_tool_that_runs_only_as_a_task_is_left_out() -> None:
    assert names(catalog_of({"s": [tool("get", needs_task=True)]}, {})) == []


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        (None, ["time__now", "web__find_all_04e2abc8", "web__get"]),
        ("time", ["time__now"]),
        (" web__get , time ", ["time__now", "web__get"]),
        ("web__find.all", ["web__find_all_04e2abc8"]),
        ("web__*", ["web__find_all_04e2abc8", "web__get"]),
        ("*__get", ["web__get"]),
        ("nothing", []),
        ("", []),
    ],
)
def test_what_is_wanted_narrows_the_choice(wanted: str | None, left: list[str]) -> None:
    assert names(MANY, wanted) == left


def test_the_same_choice_is_the_same_tuple_and_many_others_are_forgotten() -> None:
    catalog = catalog_of({"web": [tool("get"), tool("put")], "time": [tool("now")]}, {})
    first = catalog.offer("web")
    assert catalog.offer("web") is first
    for number in range(3 * MOST_CHOICES):
        assert names(catalog, f"time,nothing_{number}") == ["time__now"]
    assert catalog.offer("web") == first and catalog.offer("web") is not first
    assert names(catalog, "web") == ["web__get", "web__put"]
    long = ",".join(["web"] * LONGEST_CHOICE)
    assert catalog.offer(long) == first and catalog.offer(long) is not catalog.offer(long)


def test_a_key_that_may_use_all_that_is_offered_is_offered_the_same_tuple() -> None:
    offer = Offer(MANY.offer("web"))
    assert Rights(tools=("web",)).narrow(offer) is offer
    assert [each.name for each in Rights(tools=("web__get",)).narrow(offer).tools] == ["web__get"]


def test_wanting_never_brings_back_what_is_denied() -> None:
    assert names(catalog_of({"s": [tool("get")]}, {"s": Rules(deny=["get"])}), "s__get") == []


def test_every_tool_is_explained() -> None:
    listed = {
        "s": [tool("get"), tool("drop"), tool("other"), tool("job", needs_task=True), tool("more")],
    }
    catalog = catalog_of(listed, {"s": Rules(allow=["get", "drop", "job", "more"], deny=["dr*"])})
    told = {each.tool: (each.name, each.reason) for each in catalog.explain("s__get")}
    assert told == {
        "get": ("s__get", None),
        "drop": (None, "`deny` holds 'dr*'"),
        "other": (None, "no pattern in `allow` matches it"),
        "job": (None, "it can only be run as a task"),
        "more": (None, "it was not asked for"),
    }


def test_the_cost_is_a_fourth_of_the_characters() -> None:
    [told] = catalog_of({"s": [tool("get")]}, {}).explain()
    assert told.tokens == len('["s__get", "about get", ' + str(SCHEMA) + "]") // 4


def test_of_two_tools_with_one_name_the_first_is_injected() -> None:
    catalog = catalog_of({"s": [tool("get"), tool("get")]}, {})
    assert names(catalog) == ["s__get"]
    assert catalog.explain()[1].reason == "another tool already has the name s__get"
    assert catalog.count("s") == 1


@pytest.mark.parametrize(
    ("read_only", "destructive", "is_so"),
    [
        (None, None, False),
        (None, True, True),
        (None, False, False),
        (True, None, False),
        (True, True, False),
        (False, None, True),
        (False, False, False),
    ],
)
def test_what_annotations_mean(read_only: bool | None, destructive: bool | None, is_so: bool) -> None:
    assert is_destructive(read_only, destructive) is is_so
