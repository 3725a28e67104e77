"""Waiting for a condition: the one place of the tests that sleeps, and never longer than it must."""

import http.client
import time
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar
from urllib.parse import urlsplit

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
    """Whether a GET of `url`, plain HTTP, is answered with a status below `below`."""
    place = urlsplit(url)
    # No client of httpx2: to make one takes 60 ms of the processor that the program needs for its start.
    with closing(http.client.HTTPConnection(place.netloc, timeout=2)) as client:
        try:
            client.request("GET", place.path or "/")
            return client.getresponse().status < below
        except (OSError, http.client.HTTPException):
            return False
