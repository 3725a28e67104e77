"""Where aibridge's time goes: `python -m bench.profiling WORK [CONTENDER]` samples its stacks with py-spy.

Tells functions by the microseconds of a request (of an event, in streams) that are spent below them, and in
them; a function's C calls count as its own. py-spy is in .venv-bench; it needs the right to trace processes.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from bench import contenders, works
from bench.building import build
from bench.contenders import PEERS
from bench.measuring import Kit
from bench.processes import Running, started, upstream
from bench.samples import Sample
from bench.works import Work

SECONDS, RATE, SHOWN = 6, 400, 45
WAITS = (
    *("Condition.wait (threading.py", "_worker (concurrent/futures/thread.py", "wait (threading.py"),
    "Asking._answer (aibridge/records/asking.py",
)
"""Where a thread is that has nothing to do; py-spy cannot tell on every system."""


def profile(kit: Kit, running: Running, work: Work) -> tuple[Sample, list[tuple[list[str], int]]]:
    """A measurement, and the stacks that were seen meanwhile with how often."""
    stacks = kit.folder / "stacks"
    command = [
        *(str(PEERS / "bin" / "py-spy"), "record", "--pid", str(running.pids()[0]), "--format", "raw"),
        *("--threads", "--rate", str(RATE), "--duration", str(SECONDS + round(work.warm)), "--output"),
        str(stacks),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spy:
        sample = kit.measure(running, replace(work, seconds=SECONDS), 0)
        spy.wait(60)
    lines = (line.rpartition(" ") for line in stacks.read_text().splitlines())
    found = ((stack.split(";"), int(count)) for stack, _, count in lines)
    return sample, [(stack, count) for stack, count in found if not stack[-1].startswith(WAITS)]


def report(sample: Sample, stacks: list[tuple[list[str], int]]) -> str:
    """Threads, then functions by the time below them, with the time in them."""
    units, unit = (sample.events, "event") if sample.events else (sample.requests, "request")
    each = sample.cpu_proxy * 1e6 / units / sum(count for _, count in stacks)
    threads, below, within = Counter[str](), Counter[str](), Counter[str]()
    for stack, count in stacks:
        thread, *frames = [frame.rpartition(":")[0] or frame for frame in stack]
        threads[thread] += count
        within[frames[-1] if frames else thread] += count
        for frame in set(frames):
            below[frame] += count
    lines = [
        f"{sample.work}: {units / sample.seconds:.0f} a second, {sample.cpu_proxy * 1e6 / units:.1f} µs CPU"
    ]
    lines += [f"{threads[name] * each:9.1f} µs  {name}" for name, _ in threads.most_common()]
    lines += [f"    below    within  µs a {unit}"]
    lines += [f"{below[at] * each:9.1f} {within[at] * each:9.1f}  {at}" for at, _ in below.most_common(SHOWN)]
    lines += ["  most within"]
    lines += [f"          {within[at] * each:9.1f}  {at}" for at, _ in within.most_common(SHOWN // 2)]
    return "\n".join(lines)


def main(work_name: str, contender_name: str = "aibridge") -> None:
    """Profile one work."""
    work = next(each for each in works.ALL if each.name == work_name)
    contender = next(each for each in contenders.ALL if each.name == contender_name)
    programs = build()
    with (
        tempfile.TemporaryDirectory(prefix="aibridge-bench-") as folder,
        upstream(programs / "mock") as (port, pid),
        started(contender, Path(folder) / "run", port) as running,
    ):
        sys.stdout.write(report(*profile(Kit(programs, pid, Path(folder)), running, work)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
