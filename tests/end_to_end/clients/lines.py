"""What the client programs share: a line of JSON in for what the user says, a line out for the answer.

They run with an interpreter of their own, which knows the client's library and nothing of aibridge.
"""

import json
import sys
import traceback
from collections.abc import Callable

Say = Callable[[str], str]
"""The user's next words in a conversation → the client's final answer."""
SHADES = {"dark": "navy", "light": "azure"}
_ran: list[str] = []


def colour(shade: str) -> str:
    """Pick a colour."""
    _ran.append(shade)
    return SHADES[shade]


def serve(begin: Callable[[str, str], Say]) -> None:
    """Have conversations until stdin ends; `begin` takes the way of asking and the base URL."""
    say: Say | None = None
    for line in sys.stdin:
        told = json.loads(line)
        if told["new"] or say is None:
            say = begin(told["way"], told["base_url"])
        _ran.clear()
        print(json.dumps(_outcome(say, told["prompt"])), flush=True)


def _outcome(say: Say, prompt: str) -> dict[str, object]:
    try:
        return {"answer": say(prompt), "ran": _ran}
    except Exception:
        return {"failed": traceback.format_exc()}
