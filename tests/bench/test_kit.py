"""The load kit stays alive: its C programs compile, and tiny measurements give sound numbers."""

import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import contenders, interpreter, works
from bench.building import build
from bench.contenders import Contender, Where
from bench.measuring import Kit, check_hidden_round
from bench.processes import Running, started, upstream
from bench.samples import Results, Sample, cpu_a_request, load, memory, requests_a_second
from bench.tables import markdown
from bench.works import HIDDEN, Work
from tests.support.environment import needs

TINY = [
    replace(works.PLAIN, seconds=0.3, warm=0.2),
    replace(works.BURST32, conns=2, seconds=0.3, warm=0.2),
    replace(works.PACED[0], model="mock-paced-5x10", events=5, conns=3, seconds=0.4, warm=0.2, ramp=0.1),
]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kit, int]]:
    needs("gcc", "apt-get install gcc libc6-dev")
    programs = build(tmp_path_factory.mktemp("build"))
    with upstream(programs / "mock") as (port, pid):
        yield Kit(programs, pid, tmp_path_factory.mktemp("bodies")), port


def contender(name: str) -> Contender:
    return next(each for each in contenders.ALL if each.name == name)


@pytest.fixture(scope="module", params=["direct", "relay", "aibridge-tools-1"])
def running(
    request: pytest.FixtureRequest, kit: tuple[Kit, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with started(contender(request.param), tmp_path_factory.mktemp("run"), kit[1]) as up:
        yield up


def measured(kit: Kit, running: Running, work: Work) -> Sample:
    """With at least one request; on a busy machine the first may not be answered in so short a time."""
    for _ in range(20):
        sample = kit.measure(running, work, 0)
        if sample.requests or sample.errors:
            break
    return sample


@pytest.mark.parametrize("work", TINY, ids=lambda work: work.name)
def test_a_tiny_load_passes_whole(kit: tuple[Kit, int], running: Running, work: Work) -> None:
    sample = measured(kit[0], running, work)
    assert (sample.errors, sample.error) == (0, "")
    assert sample.requests > 0
    assert bool(sample.events) == bool(work.events)
    assert sample.latency_us and sample.latency_us["p50"] > 0
    proxied = running.program is not None
    assert bool(cpu_a_request(sample)) == bool(memory(sample)) == proxied


def test_a_hidden_round_is_hidden(running: Running) -> None:
    if HIDDEN.name in running.contender.works:
        check_hidden_round(running)


def test_a_report_tells_ratios_of_one_round_and_comes_back_from_its_file(tmp_path: Path) -> None:
    rates = {"nginx": (1000, 2000), "relay": (800, 800), "aibridge": (400, 400)}
    results = Results(
        startups={"nginx": [0.1], "relay": [0.2], "aibridge": [0.5]},
        samples=[
            sample_of(name, number, rate) for name, both in rates.items() for number, rate in enumerate(both)
        ],
    )
    results.save(tmp_path / "results.json")
    assert load(tmp_path / "results.json") == results
    report = markdown(results)
    assert "| 64 connections, requests/s against nginx | 0.15 × | 0.25 × | 0.30 × | aim | 0.60 |" in report
    assert "| 64 connections, requests/s | 1 500 | 800 | 400 | 0.60 | 0.50 | 0.30 |" in report
    assert "| aibridge | 400 | 0.30 | 0.50 |" in report
    assert "| two workers against one | 1.70 × | 1.90 × | – | not measured | – |" in report


def test_a_report_says_in_which_interpreter_aibridge_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIBRIDGE_BENCH_PYTHON", raising=False)
    assert interpreter.program() == sys.executable
    told = interpreter.described()
    assert f"{platform.python_implementation()} {platform.python_version()}, " in told["interpreter"]
    assert "OPT" in told["its build"]
    monkeypatch.setenv("AIBRIDGE_BENCH_PYTHON", "some/python")
    command = contender("relay").command
    assert command is not None
    assert command(Where(Path(), 1, 2))[0] == str(Path("some/python").absolute())


def test_disturbed_rounds_count_only_where_no_pair_was_quiet() -> None:
    samples = [
        *(sample_of("nginx", 0, 1000), sample_of("aibridge", 0, 100, foreign=1.5)),
        *(sample_of("nginx", 1, 1000, foreign=1.5), sample_of("aibridge", 1, 300)),
    ]
    results = Results(samples=samples)
    assert results.ratio("aibridge", "nginx", "plain64", requests_a_second) == 0.2
    samples += [sample_of("nginx", 2, 1000), sample_of("aibridge", 2, 400)]
    assert results.ratio("aibridge", "nginx", "plain64", requests_a_second) == 0.4
    assert results.median("aibridge", "plain64", requests_a_second) == 350


def sample_of(name: str, number: int, requests: int, foreign: float = 0.0) -> Sample:
    """A second of 64 connections."""
    return Sample(
        contender=name,
        work="plain64",
        round=number,
        seconds=1.0,
        requests=requests,
        events=0,
        bytes=requests * 1000,
        open=0,
        latency_us={"p50": 900, "p90": 1000, "p99": 2000, "max": 3000},
        first_us=None,
        delay_us=None,
        cpu_proxy=0.9,
        cpu_mock=0.1,
        cpu_load=0.1,
        cpu_foreign=foreign,
        memory_kb=50_000,
        errors=0,
        error="",
    )
