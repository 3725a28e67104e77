"""`make bench`: measure, and write results as JSON, as a Markdown table and as a picture."""

import argparse
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import contenders, works
from bench.contenders import PEERS
from bench.interpreter import ROOT, described
from bench.rounds import Plan, run
from bench.samples import Results, load
from bench.tables import markdown

RESULTS = Path(__file__).parent / "results"
QUICK_ROUNDS, ROUNDS = 2, 5


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="direct, nginx and aibridge, under two minutes")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, quick {QUICK_ROUNDS}")
    parser.add_argument("--repeats", type=int, help="of disturbed measurements; default 2, quick 0")
    parser.add_argument("--contenders", help="only these, with commas between: of " + _names(contenders.ALL))
    parser.add_argument("--works", help="only these, with commas between: of " + _names(works.ALL))
    parser.add_argument("--name", help="of the files in bench/results; default quick or full")
    parser.add_argument("--report", type=Path, help="measure nothing: report this file of results")
    return parser.parse_args(words)


def _names(things: Sequence[contenders.Contender] | Sequence[works.Work]) -> str:
    return ",".join(thing.name for thing in things)


def _plan(options: argparse.Namespace) -> Plan:
    chosen = options.contenders or (",".join(contenders.QUICK) if options.quick else _names(contenders.ALL))
    wanted = options.works or (",".join(works.QUICK) if options.quick else _names(works.ALL))
    picked = [work for work in works.ALL if work.name in wanted.split(",")]
    return Plan(
        contenders=[each for each in contenders.ALL if each.name in chosen.split(",")],
        works=[work.shortened() for work in picked] if options.quick else picked,
        rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        repeats=(0 if options.quick else 2) if options.repeats is None else options.repeats,
    )


def _machine() -> dict[str, str]:
    return {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        **described(),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _report(results: Results, name: str) -> None:
    """The three files."""
    RESULTS.mkdir(exist_ok=True)
    data, picture = RESULTS / f"{name}.json", RESULTS / f"{name}.svg"
    results.save(data)
    text = f"# {name}\n\n" + markdown(results)
    (RESULTS / f"{name}.md").write_text(text)
    say("\n" + text)
    python = PEERS / "bin" / "python"
    drawing = [str(python), "-m", "bench.plot", str(data), str(picture)]
    if not python.exists() or subprocess.run(drawing, cwd=ROOT, capture_output=True).returncode:
        say(f"no picture: matplotlib is missing in {PEERS.name}; make bench installs it, with QUICK=1 not")
    say(f"written: {', '.join(str(path.relative_to(ROOT)) for path in sorted(RESULTS.glob(f'{name}.*')))}")


def main(words: Sequence[str]) -> None:
    """Run what the options ask for."""
    options = _options(words)
    if options.report:
        _report(load(options.report), options.report.stem)
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    results = Results(machine=_machine())
    try:
        run(_plan(options), results, say)
    finally:
        if results.samples:
            _report(results, options.name or ("quick" if options.quick else "full"))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)  # what was measured until then is reported
