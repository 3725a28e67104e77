"""`python -m bench.folding`: rows a second of the writer, and what `tell` costs a request; in Markdown.

SQLite in a new folder; PostgreSQL where AIBRIDGE_BENCH_POSTGRES names a database that may be filled.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from aibridge.config import Records
from aibridge.facts import CallEnded, ExchangeEnded, ExchangeStarted, Fact, RoundEnded
from aibridge.ids import new_id
from aibridge.nouns import Caller, Usage
from aibridge.records import open_records

EXCHANGES = 20_000


def facts() -> list[Fact]:
    """An exchange of two rounds with a call: six rows."""
    name, now = new_id(), time.time()
    caller = Caller("anonymous", "openai-python", "OpenAI/Python 3.52", None)
    started = ExchangeStarted(
        name,
        now,
        caller,
        "chat_completions",
        "/v1/chat/completions",
        "m",
        "up",
        True,
        20,
        prompt="When?",
    )
    rounds = [RoundEnded(name, number, Usage(input=900, output=40), f"id-{number}", "m") for number in (1, 2)]
    call = CallEnded(
        exchange_id=name,
        round=1,
        call_id="call_1",
        name="time__now",
        injected=True,
        arguments="{}",
        status="ok",
        started_at=now,
        duration_ms=12,
        server="time",
        tool="now",
        result="noon",
    )
    return [started, rounds[0], call, rounds[1], ExchangeEnded(name, now, "completed", 200, 2, 2)]


def measure(url: str, folder: Path) -> None:
    """Print what is measured of the database at `url`."""
    told = [facts() for _ in range(EXCHANGES)]
    config = Records(url=url, journal=str(folder / "journal"))
    recorder = open_records(config)
    begun, cpu = time.perf_counter(), time.thread_time()
    for exchange in told:
        for fact in exchange:
            recorder.tell(fact)
    cost = (time.thread_time() - cpu) / EXCHANGES
    if not recorder.flush(600):
        sys.exit("the database did not take the records within ten minutes")
    took = time.perf_counter() - begun
    recorder.close()
    rows = 6 * EXCHANGES
    kind = url.partition(":")[0]
    sys.stdout.write(f"| {kind} | {rows / took:,.0f} | {cost * 1e6:,.0f} |\n")
    sys.stdout.flush()


def main() -> None:
    """Measure each database."""
    sys.stdout.write("| database | rows a second | µs of CPU a request, to tell 5 facts |\n|---|---|---|\n")
    with tempfile.TemporaryDirectory() as name:
        measure(f"sqlite:///{name}/bench.db", Path(name) / "sqlite")
        if url := os.environ.get("AIBRIDGE_BENCH_POSTGRES"):
            measure(url, Path(name) / "postgres")


if __name__ == "__main__":
    main()
