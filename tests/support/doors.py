"""A door for bridges that are put together without an application: no keys, callers told apart as ever."""

from typing import NoReturn

from aibridge.web.callers import Door


def _none() -> NoReturn:
    raise AssertionError("there are no keys here")


def door_without_keys(secret: bytes) -> Door:
    """It lets everyone in."""
    return Door("off", lambda: secret, _none, _none)
