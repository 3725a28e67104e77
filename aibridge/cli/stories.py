"""One exchange in words, for people. Lines of text; what is not known is not mentioned."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aibridge.cli.bars import timings
from aibridge.cli.figures import dollars

if TYPE_CHECKING:
    from aibridge.records.queries import Story

Row = Mapping[str, Any]
LONGEST = 2000
"""Characters of a text that are shown; `--format json` has all."""


def story_lines(story: "Story") -> Iterator[str]:
    """The story of one exchange."""
    row = story.exchange
    yield f"Exchange {row['id']}"
    yield from _who(row)
    yield from _what(row)
    if story.prompt is not None:
        yield from _text("prompt", story.prompt, "  ")
    for number in sorted({each["round"] for each in (*story.rounds, *story.calls, *story.attempts)}):
        yield ""
        yield from _round(story, number)
    yield ""
    yield from _ending(row)
    yield from timings(row, story.calls)
    yield from _run(story)


def _who(row: Row) -> Iterator[str]:
    who = row["caller"] or "an unknown caller"
    user = f" for user {row['user']}" if row["user"] else ""
    client = f" with {row['client'] or row['user_agent']}" if row["client"] or row["user_agent"] else ""
    yield f"  {_time(row['started_at'])}  {who} asked{user}{client}"
    if row["session_id"]:
        yield f"  session    {row['session_id']}"


def _what(row: Row) -> Iterator[str]:
    answered = row["model_answered"]
    if row["path"]:  # else its beginning was lost
        yield f"  request    {row['path']} ({'streamed' if row['streamed'] else 'in one piece'})"
    yield f"  model      {row['model'] or '–'}" + (f", answered by {answered}" if answered else "")
    yield f"  upstream   {row['upstream'] or '–'}"
    if row["injected_tools"] is not None:
        yield f"  tools      {_number(row['injected_tools'], 'injected tool')}"
    if row["unavailable"]:
        yield f"  away       MCP servers {', '.join(row['unavailable'])}"
    if row["left_out"]:
        yield f"  left out   {', '.join(row['left_out'])}"
    if row["answers_call_id"]:
        yield f"  answers    call {row['answers_call_id']}"


def _round(story: "Story", number: int) -> Iterator[str]:
    usage = next((each for each in story.rounds if each["round"] == number), None)
    yield f"Round {number}" + (f": {_tokens(usage)}" if usage else "")
    for attempt in story.attempts:
        if attempt["round"] == number:
            yield from _attempt(attempt)
    for thought in story.thoughts:
        if thought["round"] == number:
            yield from _text("thought", thought["text"], "  ")
    for call in story.calls:
        if call["round"] == number:
            yield from _call(call)


def _attempt(attempt: Row) -> Iterator[str]:
    key = f" with {attempt['key']}" if attempt["key"] else ""
    wait = attempt["again_in_ms"]
    then = "" if wait is None else f", asked again after {wait} ms"
    yield f"  failed     {attempt['error']}{key} after {attempt['duration_ms']} ms{then}"


def _tokens(usage: Row) -> str:
    if usage["source"] == "missing":
        return "tokens not known"
    names = (("input", "in"), ("cache_read", "from cache"), ("cache_write", "into cache"))
    more = (("output", "out"), ("reasoning", "of them reasoning"))
    figures = [f"{usage[name]:,} {word}" for name, word in (*names, *more) if usage[name]]
    source = " (estimated)" if usage["source"] == "estimated" else ""
    known = usage["cost_micros"] is not None
    cost = f", {dollars(usage['cost_micros'])} ({usage['price_source']})" if known else ", price unknown"
    return f"tokens {', '.join(figures) or '0'}{source}{cost}"


def _call(call: Row) -> Iterator[str]:
    if call["injected"]:
        tool = f"{call['server']}/{call['tool']}" if call["server"] else call["name"]
        yield f"  {tool} → {call['status']} in {call['duration_ms']} ms"
    else:
        yield f"  {call['name']} → {call['status']} to the client"
    if call["arguments"] is not None:
        yield from _text("arguments", call["arguments"], "    ")
    if call["error"]:
        yield from _text("error", call["error"], "    ")
    if call["result"] is not None:
        yield from _text("result", call["result"], "    ")
    elif call["injected"] and call["result_chars"] is not None:
        yield f"    result     {_number(call['result_chars'], 'character')}, not kept"


def _ending(row: Row) -> Iterator[str]:
    status = f" with HTTP {row['http_status']}" if row["http_status"] else ""
    took = ""
    if row["ended_at"] and row["started_at"]:
        took = f" after {(row['ended_at'] - row['started_at']).total_seconds():.3f} s"
    yield f"Ended: {row['status']}{status}{took}" if row["status"] != "running" else "Still running"
    if row["error_message"] or row["error_code"]:
        yield f"  error      {': '.join(filter(None, (row['error_code'], row['error_message'])))}"
    if row["rounds"] is not None:
        yield f"  rounds     {row['rounds']}, {_number(row['attempts'], 'attempt')} upstream"
    if row["recalled_turns"]:
        yield f"  recalled   {_number(row['recalled_turns'], 'hidden turn')} put back"
    if row["notes"]:
        yield f"  notes      {row['notes']}"


def _run(story: "Story") -> Iterator[str]:
    """The other exchanges of the agent run, this one marked."""
    if len(story.run) < 2:
        return
    yield ""
    yield f"Run of {len(story.run)} exchanges that answer each other's calls"
    for each in story.run:
        mark = "→" if each["id"] == story.exchange["id"] else " "
        took = ""
        if each["started_at"] and each["ended_at"]:
            took = f"  {(each['ended_at'] - each['started_at']).total_seconds():.1f} s"
        when = _time(each["started_at"])[11:19]
        yield f"{mark} {each['id']}  {when}  {each['status']}  {each['model'] or '–'}{took}"


def _text(name: str, text: str, indent: str) -> Iterator[str]:
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"
    first, *rest = shown.splitlines() or [""]
    yield f"{indent}{name:<10} {first}"
    for line in rest:
        yield f"{indent}{'':<10} {line}"


def _number(count: int | None, noun: str) -> str:
    return f"{count or 0:,} {noun}{'' if count == 1 else 's'}"


def _time(value: datetime | None) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S UTC") if value else "at an unknown time"
