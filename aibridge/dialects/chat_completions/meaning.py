"""What bytes tell of events: whether they have to be understood, and whether they show text."""

import re

# An event that holds none of these is text, reasoning or unknown: in round 1 it needs no understanding.
# Possessive: `"tool_calls": null` and `"usage": null`, on every chunk of some providers, do not count.
MEANINGFUL = re.compile(rb'"(?:tool_calls|usage|error|finish_reason)"\s*+:\s*+(?!null\b)|\[DONE\]')
TEXT = re.compile(rb'"content"\s*+:\s*+(?:"(?!")|\[\s*+[^\]\s])')
WORDS = (b'"tool_calls"', b'"usage"', b'"error"', b"[DONE]")
FINISH = re.compile(rb'"finish_reason"(?!:null)')
"""Begins with a literal, which is found quickly."""


def shows_text(raw: bytes) -> bool:
    """Whether text for the client's eyes is in these events, as far as bytes tell."""
    return TEXT.search(raw) is not None


def may_mean_something(raw: bytes) -> bool:
    """The words first: they are found several times faster than the pattern, and mostly are not there."""
    unfinished = raw.count(b'"finish_reason":null')
    if raw.count(b'"finish_reason"') == unfinished and not any(word in raw for word in WORDS):
        return False
    return MEANINGFUL.search(raw) is not None


def first_meaning(raw: bytes) -> int:
    """Where the first word stands that may have to be understood; the length where there is none."""
    places = [at for word in WORDS if (at := raw.find(word)) >= 0]
    if finish := FINISH.search(raw):
        places.append(finish.start())
    return min(places, default=len(raw))
