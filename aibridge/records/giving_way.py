"""How the writer's thread lets requests go first, who want the same interpreter and maybe the same core."""

import time

PAUSE = 20e-6
"""Seconds; who waits for the interpreter gets it, on one core too, where letting go is too little."""


def give_way() -> None:
    """After a tenth of a millisecond of work or so; not needed where nobody waits, but cheap."""
    time.sleep(PAUSE)
