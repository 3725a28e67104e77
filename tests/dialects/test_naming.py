"""Whose call it is is decided as early as the name allows, and never wrongly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.naming import Names

INJECTED = frozenset({"demo__add", "demo__add_all", "time__now"})
CLIENTS = frozenset({"bash", "demo", "time__n"})
WORDS = st.text("ab_", min_size=1, max_size=4)
OFFERS = st.tuples(
    st.frozensets(st.builds("{}__{}".format, WORDS, WORDS), min_size=1, max_size=4),
    st.frozensets(WORDS | st.builds("{}__{}".format, WORDS, WORDS), max_size=4),
).map(lambda both: (both[0], both[1] - both[0]))


@pytest.fixture
def names() -> Names:
    return Names(INJECTED, CLIENTS)


@given(OFFERS)
def test_an_offered_name_is_known_once_it_is_whole(offers: tuple[frozenset[str], frozenset[str]]) -> None:
    injected, clients = offers
    names = Names(injected, clients)
    for name in injected | clients:
        assert names.is_injected(name, whole=True) is (name in injected)


@given(OFFERS)
def test_a_part_of_an_offered_name_is_never_decided_wrongly(
    offers: tuple[frozenset[str], frozenset[str]],
) -> None:
    injected, clients = offers
    names = Names(injected, clients)
    for name in injected | clients:
        for length in range(len(name) + 1):
            assert names.is_injected(name[:length], whole=False) in (None, name in injected)


@given(OFFERS, st.text("ab_", max_size=8))
def test_a_whole_name_is_always_decided(offers: tuple[frozenset[str], frozenset[str]], name: str) -> None:
    assert Names(*offers).is_injected(name, whole=True) is not None


@given(OFFERS)
def test_the_first_decision_on_an_offered_name_is_the_last(
    offers: tuple[frozenset[str], frozenset[str]],
) -> None:
    injected, clients = offers
    names = Names(injected, clients)
    for name in injected | clients:
        parts = [names.is_injected(name[:length], whole=False) for length in range(len(name) + 1)]
        decided = [answer for answer in parts if answer is not None]
        assert set(decided) <= {names.is_injected(name, whole=True)}


@pytest.mark.parametrize(
    ("name", "whole", "ours"),
    [
        ("time__now", False, True),
        ("time__now", True, True),
        ("demo__add_all", False, True),
        ("demo__add", False, None),  # demo__add_all may come
        ("demo__add", True, True),
        ("demo__ad", False, None),
        ("time__n", False, None),  # time__now may come
        ("time__n", True, False),
        ("demo", False, None),
        ("demo", True, False),
        ("bash", False, False),
        ("ba", False, False),
        ("", False, None),
        ("", True, False),
        ("weather", False, False),
    ],
)
def test_a_name_is_decided_as_early_as_it_can_be(
    names: Names, name: str, whole: bool, ours: bool | None
) -> None:
    assert names.is_injected(name, whole=whole) is ours


def test_a_name_that_nobody_offered_under_a_prefix_of_ours_is_ours(names: Names) -> None:
    assert names.is_injected("demo__subtract", whole=True) is True
    assert names.is_injected("other__subtract", whole=True) is False


def test_where_nothing_is_injected_every_call_is_the_clients() -> None:
    names = Names(frozenset(), CLIENTS)
    assert not names.any_injected
    assert names.is_injected("", whole=False) is False
    assert names.is_injected("demo__add", whole=False) is False
