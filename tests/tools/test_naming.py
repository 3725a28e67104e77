"""Injected names: valid everywhere, unique, the same whatever else is there."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.tools.catalog import Catalog
from aibridge.tools.definitions import Definition, Listing
from aibridge.tools.naming import injected_name

VALID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
tight = st.text("a_-.", min_size=0, max_size=6)
anything = st.text(max_size=80)


def test_a_plain_name_is_server_and_tool() -> None:
    assert injected_name("time", "get_current_time") == "time__get_current_time"


@pytest.mark.parametrize(
    ("server", "tool", "beginning"),
    [
        ("time", "a.b", "time__a_b_"),
        ("files", "liest größe", "files__liest_gr__e_"),
        ("a__b", "c", "a__b__c_"),
        ("a_", "b", "a___b_"),
        ("9lives", "cat", "_9lives__cat_"),
        ("s", "t" * 80, "s__" + "t" * 52 + "_"),
    ],
)
def test_a_name_that_had_to_change_ends_in_a_hash(server: str, tool: str, beginning: str) -> None:
    name = injected_name(server, tool)
    assert re.fullmatch(re.escape(beginning) + "[0-9a-f]{8}", name)


def test_the_hash_never_changes_between_versions() -> None:
    assert injected_name("files", "read.file") == "files__read_file_97875296"


def test_64_characters_are_kept_and_65_are_cut() -> None:
    assert injected_name("s", "t" * 61) == "s__" + "t" * 61
    assert len(injected_name("s", "t" * 62)) == 64
    assert injected_name("s", "t" * 62) != injected_name("s", "t" * 63)


@given(server=anything, tool=anything)
def test_every_name_is_valid(server: str, tool: str) -> None:
    assert VALID.fullmatch(injected_name(server, tool))


@given(first=st.tuples(tight, tight), second=st.tuples(tight, tight))
def test_two_tools_never_share_a_name(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert (injected_name(*first) == injected_name(*second)) == (first == second)


LETTERS = "abcXYZ019_-./ äß日本\u202e🙂"


def _generated(count: int) -> list[tuple[str, str]]:
    """Servers and tools of every kind: dots, unicode, long ones, and ones that read alike when made valid."""
    dice = random.Random(4)
    found: dict[tuple[str, str], None] = {}
    while len(found) < count:
        server = "".join(dice.choices("ab_-", k=dice.randint(1, 4))).strip("_-") or "s"
        length = dice.choice([1, 2, 3, 8, 40, 60, 64, 128])
        tool = "".join(dice.choices(LETTERS, k=length))
        found[server, tool] = None
        if dice.random() < 0.2:
            found[server, tool.replace(".", "_")] = None
            found[f"{server}__x", tool] = None
    return list(found)[:count]


def test_five_hundred_names_are_valid_unique_stable_and_lead_back() -> None:
    pairs = _generated(500)
    names = [injected_name(*pair) for pair in pairs]
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name) for name in names)
    assert len(set(names)) == 500
    listed: dict[str, list[Definition]] = {}
    for server, tool in reversed(pairs):
        listed.setdefault(server, []).append(Definition(tool, "", {}))
    catalog = Catalog({server: Listing(tuple(tools)) for server, tools in listed.items()}, {})
    back = {tool.name: (tool.server, tool.own_name) for tool in catalog.offer()}
    assert [back[name] for name in names] == pairs


@pytest.mark.parametrize(
    ("server", "tool", "name"),
    [
        ("web", "get", "web__get"),
        ("web", "find.all", "web__find_all_04e2abc8"),
        ("web", "x" * 128, "web__xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_f69ad196"),
        ("web", "日本", "web_____0e419c13"),
    ],
)
def test_names_stay_what_they_were(server: str, tool: str, name: str) -> None:
    assert injected_name(server, tool) == name
