"""What bytes tell of events: whether they have to be understood, and whether they show text."""

import re

# An event that holds none of these is text, reasoning or unknown: in round 1 it needs no understanding.
# Possessive: `"tool_calls": null` and `"usage": null`, on every chunk of some providers, do not count.
MEANINGFUL = re.compile(rb'"(?:tool_calls|usage|error|finish_reason)"\s*+:\s*+(?!null\b)|\[DONE\]')
TEXT = re.compile(rb'"content"\s*+:\s*+(?:"(?!")|\[\s*+[^\]\s])')
REASONING = re.compile(rb'"(?:reasoning|thinking)')
MOST_TRIES = 3


class Alike:
    """Text events of one stream that differ in their text alone, known again by what stands around it.

    In a text without a quote is no other key, and without a line's end no other event: nothing else has to
    be searched.
    """

    def __init__(self) -> None:
        self._before = self._after = b""
        self._tries = MOST_TRIES

    def learn(self, event: bytes) -> None:
        """Take an event in which nothing has to be understood for what others are like."""
        if not self._tries:
            return  # they differ in more, as with OpenAI's `obfuscation`
        self._tries -= 1
        before, found, rest = event.partition(b'"content":"')
        text, quote, after = rest.partition(b'"')
        if not quote or b"\\" in text or not after.endswith(b"\n\n"):
            return
        if not (REASONING.search(before) or REASONING.search(after)):
            self._before, self._after = before + found, quote + after

    def run(self, block: bytes, start: int) -> tuple[int, int]:
        """How many events from `start` on are like that and show text, and where the last of them ends."""
        count, end = 0, start
        before, after = self._before, self._after
        while before and block.startswith(before, end):
            text = end + len(before)
            quote = block.find(b'"', text)
            if quote <= text or not block.startswith(after, quote) or block.find(b"\n", text, quote) >= 0:
                break
            count, end = count + 1, quote + len(after)
        return count, end


def shows_text(raw: bytes) -> bool:
    """Whether text for the client's eyes is in these events, as far as bytes tell."""
    return TEXT.search(raw) is not None


def may_mean_something(raw: bytes) -> bool:
    """The words first: they are found several times faster than the pattern, and mostly are not there."""
    told = (
        raw.count(b'"finish_reason"') != raw.count(b'"finish_reason":null')
        or b'"tool_calls"' in raw
        or b'"usage"' in raw
        or b'"error"' in raw
        or b"[DONE]" in raw
    )
    return told and MEANINGFUL.search(raw) is not None
