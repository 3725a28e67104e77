"""When a request is sent again, by what the upstream says, and how often at most."""

import pytest

from aibridge.upstreams.retrying import (
    FIRST_WAIT,
    RESERVE,
    SHARE,
    TRICKLE,
    Budget,
    told_wait,
    wait_before,
    worth_retrying,
)
from tests.upstreams.test_breaker import Time


@pytest.mark.parametrize(
    ("status", "told", "again"),
    [
        *((status, None, True) for status in (408, 409, 429, 500, 502, 503, 504, 529)),
        *((status, None, False) for status in (400, 401, 403, 404, 413, 422)),
        (500, b"false", False),
        (400, b"TRUE", True),
        (500, b"perhaps", True),
    ],
)
def test_what_is_worth_a_retry(status: int, told: bytes | None, again: bool) -> None:
    headers = [] if told is None else [(b"X-Should-Retry", told)]
    assert worth_retrying(status, headers) is again


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"Retry-After", b"7")], 7.0),
        ([(b"retry-after", b"0.5")], 0.5),
        ([(b"retry-after", b"-3")], 0.0),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"Thu, 01 Jan 1970 00:00:00 GMT")], 0.0),
        ([(b"retry-after", b"Wed, 21 Oct 99999999999 07:28:00 GMT")], None),
        ([(b"retry-after", b"Wed, 21 Oct 2015 07:28:00 +99999999999999")], None),
        ([(b"retry-after", b"9" * 5000)], None),
        ([(b"retry-after", b"1e400")], None),
        ([(b"retry-after", b"1e300")], 1e300),
        ([(b"retry-after-ms", b"-1e400")], None),
        ([(b"retry-after-ms", b"-5")], 0.0),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"7")], 0.25),
        ([(b"retry-after-ms", b"x"), (b"retry-after", b"7")], 7.0),
    ],
)
def test_what_the_upstream_says_of_the_wait(
    headers: list[tuple[bytes, bytes]], seconds: float | None
) -> None:
    assert told_wait(headers) == seconds


def test_a_date_in_the_future_is_waited_for() -> None:
    assert (told_wait([(b"retry-after", b"Fri, 31 Dec 2100 23:59:59 GMT")]) or 0) > 1e9


def test_waits_grow_and_differ() -> None:
    waits = [[wait_before(retry) for _ in range(50)] for retry in (1, 2, 3)]
    for number, found in enumerate(waits):
        longest = FIRST_WAIT * 2**number
        assert longest / 2 <= min(found) < max(found) <= longest
    assert wait_before(3, [(b"retry-after", b"2")]) == 2.0
    assert wait_before(1, [(b"retry-after", b"0")]) > 0


def test_a_fifth_of_the_requests_may_be_retries_beside_what_was_saved_up() -> None:
    time = Time()
    budget = Budget(time)
    spent = 0
    for _ in range(1000):
        budget.earn()
        spent += budget.spend() + budget.spend()
    assert RESERVE + 999 * SHARE - 1 <= spent <= RESERVE + 1000 * SHARE
    assert not budget.spend()
    time.now += 1 / TRICKLE + 1
    assert budget.spend() and not budget.spend(), "a quiet upstream gets one again after a while"
