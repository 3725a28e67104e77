"""Waiting for a condition: the one place of the tests that sleeps, and never longer than it must."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx2

T = TypeVar("T")
_STEP = 0.02


def eventually(condition: Callable[[], T], seconds: float = 30, what: str = "the condition") -> T:
    """The first true value that `condition` gives within `seconds`; AssertionError if there is none."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {seconds:g} s")
        time.sleep(_STEP)
    return value


def answers(url: str, below: int = 500) -> bool:
    """Whether a GET of `url` is answered with a status below `below`."""
    try:
        with httpx2.Client(trust_env=False, timeout=2) as client:
            return client.get(url).status_code < below
    except httpx2.TransportError:
        return False
