"""The results as Markdown: goals, the way to nginx, a table for each work, growth, what was left out."""

from collections.abc import Callable, Sequence

from bench import distance
from bench.goals import GOALS
from bench.samples import (
    Metric,
    Results,
    cpu_a_request,
    cpu_an_event,
    delay,
    events_a_second,
    first,
    latency,
    memory,
    requests_a_second,
)
from bench.works import ALL, EARLIER, OPEN, Work

BARE = "relay"
TOOLS = "aibridge-tools-"
Cell = Callable[[Results, str, str], str]


def markdown(results: Results) -> str:
    """The whole report."""
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    rounds = len({sample.round for sample in results.samples})
    head = (
        f"Rounds: {rounds}. {machine}.\nMachines differ, and this one may be noisy: only ratios within one"
        " run count. Medians over rounds; a ratio is the median of the rounds' ratios."
    )
    parts = [head, _goals(results), _distance(results), *_works(results)]
    parts += [_growth(results), _left_out(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def number(value: float | None) -> str:
    """Three figures that count."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _goals(results: Results) -> str:
    rows = []
    for goal in GOALS:
        value = goal.value(results, "aibridge")
        bare = goal.value(results, BARE) if goal.relayed else None
        told = [
            "–" if each is None else f"{number(each)} {goal.unit}" for each in (goal.must, goal.aim, value)
        ]
        rows.append([goal.what, *told, goal.verdict(value), "–" if bare is None else number(bare)])
    head = ["what", "must", "aim", "measured", "reached", "a bare relay has"]
    return "## Goals\n\n" + table(head, rows)


def _distance(results: Results) -> str:
    """Python's part of the way to nginx, and aibridge's."""
    rows = [[what, *map(number, values)] for what, values in distance.rows(results)]
    head = ["", *distance.WAY, "relay ÷ nginx (Python)", "aibridge ÷ relay (aibridge)", "aibridge ÷ nginx"]
    return "## The way to nginx\n\n" + table(head, rows) if rows else ""


def _plain(metric: Metric) -> Cell:
    return lambda results, contender, work: number(results.median(contender, work, metric))


def _ratio(metric: Metric, base: str) -> Cell:
    return lambda results, contender, work: number(results.ratio(contender, base, work, metric))


def _added(metric: Metric) -> Cell:
    return lambda results, contender, work: number(results.added(contender, "direct", work, metric))


def _errors(results: Results, contender: str, work: str) -> str:
    samples = [each for each in results.samples if (each.contender, each.work) == (contender, work)]
    saturated = ", saturated" if any(each.saturated for each in samples) and work.startswith("paced") else ""
    return f"{max(each.errors for each in samples)}{saturated}"


P50 = latency("p50")
REQUESTS: dict[str, Cell] = {
    "req/s": _plain(requests_a_second),
    "× nginx": _ratio(requests_a_second, "nginx"),
    "× relay": _ratio(requests_a_second, BARE),
    "p50 µs": _plain(P50),
    "added µs": _added(P50),
    "p99 µs": _plain(latency("p99")),
    "CPU µs/req": _plain(cpu_a_request),
    "CPU × nginx": _ratio(cpu_a_request, "nginx"),
    "CPU × relay": _ratio(cpu_a_request, BARE),
}
EVENTS: dict[str, Cell] = {
    "events/s": _plain(events_a_second),
    "× nginx": _ratio(events_a_second, "nginx"),
    "× relay": _ratio(events_a_second, BARE),
    "first event p50 µs": _plain(first("p50")),
    "added µs": _added(first("p50")),
    "delay p50 µs": _plain(delay("p50")),
    "delay × nginx": _ratio(delay("p50"), "nginx"),
    "delay × relay": _ratio(delay("p50"), BARE),
    "delay p99 µs": _plain(delay("p99")),
    "CPU µs/event": _plain(cpu_an_event),
    "CPU × nginx": _ratio(cpu_an_event, "nginx"),
    "CPU × relay": _ratio(cpu_an_event, BARE),
}
MEMORY: dict[str, Cell] = {
    "MB": _plain(memory),
    "× nginx": _ratio(memory, "nginx"),
    "× relay": _ratio(memory, BARE),
}


def _works(results: Results) -> list[str]:
    shown = [work for work in ALL if work not in EARLIER and work not in OPEN]
    return [_work(results, work) for work in [*shown, OPEN[2]] if _who(results, work)]


def _who(results: Results, work: Work) -> list[str]:
    return list(dict.fromkeys(each.contender for each in results.samples if each.work == work.name))


def _work(results: Results, work: Work) -> str:
    cells = MEMORY if work in OPEN else EVENTS if work.events else REQUESTS
    order = [name for name in results.startups if name in _who(results, work)]
    rows = [
        [
            name,
            *(cell(results, name, work.name) for cell in cells.values()),
            _errors(results, name, work.name),
        ]
        for name in order
    ]
    return f"## {work.name}: {work.about}\n\n" + table(["", *cells, "errors"], rows)


def _growth(results: Results) -> str:
    """CPU and latency over the length of a conversation and the number of tools; memory over streams."""
    with_tools = [name for name in results.startups if name.startswith(TOOLS)]
    rows = [
        [f"{work.about}, {_tools(name)}", *_cost(results, name, work.name)]
        for name in ("aibridge", f"{TOOLS}20")
        for work in EARLIER
        if results.by_round(name, work.name)
    ]
    rows += [[_tools(name), *_cost(results, name, "plain1")] for name in ("aibridge", *with_tools)]
    streams = [[work.about, number(results.median("aibridge", work.name, memory))] for work in OPEN]
    starts = [[name, number(results.startup(name))] for name in results.startups if results.startup(name)]
    tables = [
        table(["growth of aibridge", "CPU µs/req", "p50 µs"], rows),
        table(["memory of aibridge", "MB"], streams),
        table(["start until the first 200", "s"], starts),
    ]
    return "## Growth, memory, start\n\n" + "\n\n".join(tables)


def _tools(contender: str) -> str:
    return f"{contender.removeprefix(TOOLS) if contender.startswith(TOOLS) else 0} injected tools"


def _cost(results: Results, contender: str, work: str) -> list[str]:
    return [number(results.median(contender, work, metric)) for metric in (cpu_a_request, P50)]


def _left_out(results: Results) -> str:
    lines = [f"- {name}: {reason}" for name, reason in results.left_out.items()]
    return "## Left out\n\n" + "\n".join(lines) if lines else ""
