"""What one credential's tools said is never put back for another, whoever the caller is."""

import asyncio

import pytest

from aibridge.bridge.memory import Memory
from tests.bridge.saying import Said, Turn
from tests.bridge.stage import Stage
from tests.bridge.talking import Talk
from tests.tools.boxes import opened
from tests.tools.sites import site

SHARED = {"authorization": "Bearer of the whole team", "x-session-id": "1"}


async def _told(second: str) -> tuple[str, int]:
    """What the first user's tool said, and how many hidden turns the second user's request puts back."""
    with site("auto", forward_headers=["x-user"]) as there:
        async with opened(there.servers, connected=False) as box:
            stage = Stage(box, Memory())
            first = Talk(stage, headers={**SHARED, "x-user": "ann"})
            seen = await first.hears(Turn("", (Said("c1", "house__who", "{}"),)), Turn("You are Ann."))
            other = Talk(stage, headers={**SHARED, "x-user": second}, messages=list(first.messages))
            goes_on = await other.hears(Turn("Still."))
            return str(seen.requests[1]["messages"][-1]["content"]), goes_on.ending.recalled_turns


@pytest.mark.parametrize(("second", "recalled"), [("ann", 1), ("eve", 0)])
def test_recall_is_apart_for_each_credential_that_is_handed_on(second: str, recalled: int) -> None:
    assert asyncio.run(_told(second)) == ("ann", recalled)
