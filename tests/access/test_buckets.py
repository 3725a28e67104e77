"""The arithmetic of limits a minute, with a clock that is only a number."""

from hypothesis import given
from hypothesis import strategies as st

from aibridge.access.buckets import MINUTE, Book, Limits

Step = tuple[float, int]
steps = st.lists(st.tuples(st.floats(0, 30), st.integers(0, 50)), min_size=1, max_size=60)


@given(st.integers(1, 20), steps)
def test_no_minute_sees_more_requests_than_twice_the_limit_nor_any_span_more_than_it_earns(
    rpm: int, walk: list[Step]
) -> None:
    book, now, admitted = Book(), 0.0, list[float]()
    for pause, _ in walk:
        now += pause
        if book.admit(Limits(rpm=rpm), 0, "x", now).refused is None:
            admitted.append(now)
    for first, begin in enumerate(admitted):
        for last in range(first, len(admitted)):
            earned = rpm + (admitted[last] - begin) * rpm / MINUTE
            assert last - first + 1 <= earned + 1e-6


@given(st.integers(1, 20), st.integers(1, 40), steps)
def test_who_waits_as_long_as_was_said_is_let_in(rpm: int, tpm: int, walk: list[Step]) -> None:
    book, limits, now = Book(), Limits(rpm, tpm), 0.0
    for pause, tokens in walk:
        now += pause
        verdict = book.admit(limits, tokens, "x", now)
        if verdict.refused is not None:
            assert verdict.wait > 0
            now += verdict.wait + 1e-6
            assert book.admit(limits, tokens, "x", now).refused is None


@given(st.integers(1, 40), st.lists(st.tuples(st.floats(0, 30), st.integers(0, 50), st.integers(0, 50))))
def test_tokens_settle_to_what_was_used(tpm: int, walk: list[tuple[float, int, int]]) -> None:
    limits, now = Limits(tpm=tpm), 0.0
    told, known = Book(), Book()
    for pause, estimate, used in walk:
        now += pause
        left = known.tokens.fill(tpm, now)
        verdict = told.admit(limits, estimate, "x", now)
        assert (verdict.refused is None) == (left >= min(estimate, tpm))
        if verdict.refused is None:
            told.settle(limits, used - estimate, "x", now)
            known.tokens.take(used, tpm)
        # A debt is bounded, so an estimate beyond it may be given back in part only.
        assert -tpm <= told.tokens.fill(tpm, now) <= tpm
        known.tokens.left = told.tokens.left


def test_a_refused_request_takes_nothing() -> None:
    book, limits = Book(), Limits(rpm=5, tpm=10, concurrency=1)
    assert book.admit(limits, 4, "one", 0).refused is None
    before = (book.requests.left, book.tokens.left)
    assert book.admit(limits, 4, "two", 0).refused == "concurrency"
    assert (book.requests.left, book.tokens.left) == before
    assert book.tokens.left == 6
    book.settle(limits, 0, "one", 0)
    assert book.admit(limits, 4, "two", 0).refused is None


def test_a_request_beyond_a_minutes_worth_passes_when_the_bucket_is_full_and_its_debt_is_bounded() -> None:
    book, limits = Book(), Limits(tpm=10)
    assert book.admit(limits, 1000, "one", 0).refused is None
    assert book.tokens.left == -10
    verdict = book.admit(limits, 1, "two", 0)
    assert (verdict.refused, verdict.wait) == ("tokens", 66.0)


def test_a_clock_that_goes_back_fills_nothing() -> None:
    book, limits = Book(), Limits(rpm=1)
    assert book.admit(limits, 0, "one", 100).refused is None
    assert book.admit(limits, 0, "two", 40).refused == "requests"
    assert book.admit(limits, 0, "two", 99).refused == "requests"
