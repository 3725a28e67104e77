"""The run: in each round all contenders are up, and each work goes over them one after the other."""

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.building import build
from bench.contenders import Contender
from bench.interpreter import ROOT, program
from bench.measuring import Kit, check_hidden_round
from bench.processes import PROXY_CORE, DidNotStart, Running, on_core, started, upstream
from bench.samples import Results, Sample, latency
from bench.works import HIDDEN, PACED, Work

WARM_UP = Work("warm-up", "before the first work", conns=4, seconds=0.3, warm=0.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, how often, and how often again where others disturbed it."""

    contenders: Sequence[Contender]
    works: Sequence[Work]
    rounds: int
    repeats: int = 0


def run(plan: Plan, results: Results, say: Callable[[str], None]) -> None:
    """Measure all of `plan` into `results`."""
    with tempfile.TemporaryDirectory(prefix="aibridge-bench-") as name, ExitStack() as stack:
        programs = build()
        port, pid = stack.enter_context(upstream(programs / "mock"))
        kit = Kit(programs, pid, Path(name))
        for number in range(plan.rounds):
            say(f"round {number + 1} of {plan.rounds}")
            _round(plan, kit, port, number, results, say)


def _round(
    plan: Plan, kit: Kit, port: int, number: int, results: Results, say: Callable[[str], None]
) -> None:
    results.bare_calls_us.append(_bare_call(port))
    with ExitStack() as stack:
        up: list[Running] = []
        for contender in plan.contenders:
            if contender.name not in results.left_out:
                up += _start(contender, kit, port, number, stack, results, say)
        for work in plan.works:
            for running in up if number % 2 == 0 else reversed(up):
                if work.name in running.contender.works and not _hopeless(running, work, number, results):
                    sample = _quietest(kit, running, work, number, plan.repeats)
                    results.samples.append(sample)
                    say(line(sample))


def _start(
    contender: Contender,
    kit: Kit,
    port: int,
    number: int,
    stack: ExitStack,
    results: Results,
    say: Callable[[str], None],
) -> list[Running]:
    """The contender, up and warm; empty where it cannot be, which is told."""
    reason = contender.missing()
    if reason is None:
        try:
            folder = kit.folder / f"{contender.name}-{number}"
            running = stack.enter_context(started(contender, folder, port))
            if HIDDEN.name in contender.works:
                check_hidden_round(running)
            kit.measure(running, WARM_UP, number)
            results.startups.setdefault(contender.name, []).append(running.startup)
            return [running]
        except DidNotStart as error:
            reason = str(error)
    say(f"  {contender.name} is left out: {reason}")
    results.left_out[contender.name] = reason
    return []


def _hopeless(running: Running, work: Work, number: int, results: Results) -> bool:
    """More streams, where fewer already took all of the proxy's core in this round."""
    before = PACED[: PACED.index(work)] if work in PACED else ()
    names = {each.name for each in before}
    mine = (running.contender.name, number)
    return any(
        each.saturated
        for each in results.samples
        if each.work in names and (each.contender, each.round) == mine
    )


def _quietest(kit: Kit, running: Running, work: Work, number: int, repeats: int) -> Sample:
    """A measurement, made again where others disturbed it; the one that they disturbed least."""
    samples = [kit.measure(running, work, number)]
    while samples[-1].disturbed and len(samples) <= repeats:
        samples.append(kit.measure(running, work, number))
    return min(samples, key=lambda sample: sample.cpu_foreign)


def _bare_call(port: int) -> float:
    command = on_core(PROXY_CORE, [program(), "-m", "bench.bare_call", str(port)])
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def line(sample: Sample) -> str:
    """A sample for whoever watches."""
    p50 = latency("p50")(sample) or 0
    trouble = f", {sample.errors} errors: {sample.error}" if sample.errors else ""
    return (
        f"  {sample.work:11} {sample.contender:18} {sample.requests / sample.seconds:9.0f} req/s"
        f" {sample.events / sample.seconds:9.0f} events/s  p50 {p50:7.0f} µs"
        f"  cpu {sample.cpu_proxy / sample.seconds:4.2f}"
        f"  others {sample.cpu_foreign / sample.seconds:4.2f}{trouble}"
    )
