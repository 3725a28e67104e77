"""Which Python aibridge and the relay run in: AIBRIDGE_BENCH_PYTHON, else the one that measures.

Builds of one version differ much in speed, so a report tells which it was: `python -m bench.interpreter`
prints what the interpreter says of its build, and how long a fixed piece of Python takes in it. That time
is the surer word: distributions optimise by profile without leaving a trace in the settings.
"""

import json
import os
import platform
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPTIMISING = ("--enable-optimizations", "--with-lto")
RUNS, STEPS = 15, 20_000


def program() -> str:
    """The interpreter's path; it needs what requirements.txt names."""
    chosen = os.environ.get("AIBRIDGE_BENCH_PYTHON")
    return str(Path(chosen).absolute()) if chosen else sys.executable


def described() -> dict[str, str]:
    """What is to be told of it in a report."""
    done = subprocess.run(
        [program(), "-m", "bench.interpreter"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told: dict[str, str] = json.loads(done.stdout)
    return told


def _build() -> str:
    settings = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    named = [option for option in OPTIMISING if option in settings]
    flags = str(sysconfig.get_config_var("OPT") or "none")
    return f"{', '.join(named) or 'names no optimisation by profile'}; OPT {flags}"


class _Piece:
    def __init__(self, number: int) -> None:
        self.number = number

    def taken(self, into: dict[bytes, int]) -> int:
        key = b"%d" % (self.number % 100)
        into[key] = into.get(key, 0) + len(key)
        return into[key]


def _fixed_work() -> float:
    """Milliseconds of a loop over objects, calls, dictionaries and bytes, as a relay's code is made of."""
    begin, counts = time.perf_counter(), dict[bytes, int]()
    for number in range(STEPS):
        _Piece(number).taken(counts)
    return (time.perf_counter() - begin) * 1000


def main() -> None:
    """Print as JSON."""
    took = min(_fixed_work() for _ in range(RUNS))
    at = str(Path(sys.base_prefix) / "bin" / Path(sys.executable).resolve().name)
    told = {
        "interpreter": f"{platform.python_implementation()} {platform.python_version()},"
        f" {at.replace(str(Path.home()), '~', 1)}",
        "its build": _build(),
        "a fixed piece of Python takes": f"{took:.1f} ms",
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
