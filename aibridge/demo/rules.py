"""How a user message scripts the model: plain words → what it does in each round. Pure.

The rules are looked for in the last user message. A script begins at the start of a line, or at a
`call NAME {…}` anywhere; its rules are joined by ` and `. Quotes around it and `\\"` within it are
tolerated, because agents wrap prompts. ` then ` before a rule begins the next round; ` in round N`
after a rule moves it to that round.

| rule                  | the model                                                                     |
|-----------------------|-------------------------------------------------------------------------------|
| `call NAME {json}`    | calls the offered tool NAME, or the one that ends with `__NAME`; the JSON goes |
|                       | out as it is written, broken too; without it `{}`                             |
| `say TEXT`            | says TEXT, before the calls of the round                                      |
| `count N`             | says N numbered pieces                                                        |
| `reason`              | thinks (`reasoning_content`) before it says anything                          |
| `slow N`              | waits N milliseconds between chunks                                           |
| `fail STATUS`         | answers with this error status; `fail STATUS once`: only the first time asked |
| `break`               | breaks the connection in the middle of the answer                             |
| `error mid-stream`    | sends `data: {"error": …}` in the middle of the answer                        |
| `forever`             | repeats the last round with calls for as long as calls are allowed            |

A round without calls ends the script. After the last round, or without any rule, the model answers with
every tool result since the user's message, else with the message itself.
"""

import json
import re
from dataclasses import dataclass, field

_WORDS = r"(?:call|say|count|reason|slow|fail|break|error|forever)\b"
_NAME = r"[A-Za-z0-9_-]{1,64}"
_END = rf"(?=\s*[\"'.,;]*\s*(?:$|(?:and|then)\s|in\s+round\s|{_WORDS}))"
_STOP = rf"(?=\s*[\"']?\s*$|,?\s+(?:and|then)\s+{_WORDS}|\s+call\s+{_NAME}\s*\{{)"
_JOINT = r"(?P<joint>(?:and|then)\s+)?"
_CALL = rf"call\s+(?P<call>{_NAME})"
_RULES = rf"""(?:{_CALL}(?:(?=\s*\{{)|{_END})
    | say\s+(?P<say>.+?){_STOP}
    | count\s+(?P<count>\d{{1,6}})\b
    | slow\s+(?P<slow>\d{{1,5}})\b
    | fail\s+(?P<fail>[45]\d\d)\b(?P<once>\s+once\b)?
    | (?P<flag>reason|break|error\s+mid-stream|forever){_END})"""
_LINE = re.compile(rf"^[\s\"'>]*{_JOINT}{_RULES}", re.MULTILINE | re.VERBOSE)
_NEXT = re.compile(rf"[\s\"',.;]*{_JOINT}{_RULES}", re.MULTILINE | re.VERBOSE)
_ANYWHERE = re.compile(rf"(?<![\w-]){_JOINT}{_CALL}(?=\s*\{{)")
_BROKEN_JSON = re.compile(rf".*?{_STOP}", re.MULTILINE)
_IN_ROUND = re.compile(r"\s+in\s+round\s+(\d{1,3})\b")
_ESCAPED = re.compile(r'\{\s*\\"')


@dataclass(frozen=True, slots=True)
class WantedCall:
    """A call in the words of the script: the tool's name may lack its prefix."""

    name: str
    arguments: str


@dataclass(slots=True)
class Round:
    """What the script wants of one round."""

    text: str | None = None
    calls: list[WantedCall] = field(default_factory=list)
    pause_ms: int = 0
    reasons: bool = False
    status: int = 200
    fails_once: bool = False
    breaks: bool = False
    errs: bool = False
    pieces: list[str] | None = None
    """Text in pieces of its own, instead of words."""


@dataclass(slots=True)
class Script:
    """What the model does, round by round."""

    rounds: list[Round] = field(default_factory=list)
    forever: bool = False

    def at(self, number: int) -> Round:
        """The round `number`, counted from 1; an empty one after the last."""
        if number <= len(self.rounds):
            return self.rounds[number - 1]
        if self.forever:
            return next((each for each in reversed(self.rounds) if each.calls), Round())
        return Round()

    def add(self, number: int) -> Round:
        """The round `number`, made if the script has not come so far."""
        while len(self.rounds) < number:
            self.rounds.append(Round())
        return self.rounds[number - 1]


def read_script(text: str) -> Script:
    """The script in a user message; an empty one where there is none."""
    if _ESCAPED.search(text):
        text = text.replace('\\"', '"')
    script, number, at = Script(), 1, 0
    while found := _next_rule(text, at):
        if script.rounds and (found["joint"] or "").startswith("then"):
            number += 1
        at, arguments = _arguments(text, found)
        moved = _IN_ROUND.match(text, at)
        _apply(found, arguments, script, int(moved[1]) if moved else number)
        at = moved.end() if moved else at
    return script


def _next_rule(text: str, at: int) -> re.Match[str] | None:
    if at and (follows := _NEXT.match(text, at)):
        return follows
    candidates = [found for found in (_LINE.search(text, at), _ANYWHERE.search(text, at)) if found]
    return min(candidates, key=re.Match.end, default=None)


def _arguments(text: str, found: re.Match[str]) -> tuple[int, str]:
    """Where the rule ends, and the arguments if it is a call."""
    begin = found.end()
    if not found["call"] or not text[begin:].lstrip().startswith("{"):
        return begin, "{}"
    begin = text.index("{", begin)
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin)
    except ValueError:
        broken = _BROKEN_JSON.match(text, begin)
        end = broken.end() if broken else len(text)
    return end, text[begin:end]


def _apply(found: re.Match[str], arguments: str, script: Script, number: int) -> None:
    rule = {name: value for name, value in found.groupdict().items() if value and name != "joint"}
    planned = script.add(max(number, 1))
    match rule:
        case {"call": name}:
            planned.calls.append(WantedCall(name, arguments))
        case {"say": text}:
            planned.text = text.strip("\"'")
        case {"count": count}:
            planned.pieces = [f"{piece} " for piece in range(1, int(count) + 1)]
        case {"slow": pause}:
            planned.pause_ms = int(pause)
        case {"fail": status}:
            planned.status, planned.fails_once = int(status), "once" in rule
        case {"flag": "reason"}:
            planned.reasons = True
        case {"flag": "break"}:
            planned.breaks = True
        case {"flag": "forever"}:
            script.forever = True
        case {"flag": _}:
            planned.errs = True
