"""`aibridge usage tail`, `list`, `export`, `reprice`: on records of a server."""

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from aibridge.cli.following import Following
from aibridge.nouns import Filter
from aibridge.records import Recorder
from aibridge.records.listing import BATCH, EXPORTED
from aibridge.records.pricing import NO_PRICES
from tests.cli.test_usage import COMMAND, _refused, _usage, folder
from tests.records.telling import PROMPT, ended, recording, records_in, started, whole
from tests.support.environment import clean_env
from tests.support.waiting import eventually

__all__ = ["folder"]


def _begin(recorder: Recorder, name: str, ago: float = 0.0, **changes: Any) -> None:
    recorder.tell(started(name, started_at=time.time() - ago, **changes))


def _end(recorder: Recorder, name: str) -> None:
    for fact in whole(name)[1:]:
        recorder.tell(fact)


@contextmanager
def _tailing(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A running tail, and the file that it writes to."""
    told = folder / "told"
    with told.open("w") as out:
        running = subprocess.Popen(
            (*COMMAND, "tail", *arguments),
            cwd=folder,
            env=clean_env(folder / "home", PYTHONUNBUFFERED="1"),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        yield running, told
    finally:
        running.kill()
        running.communicate()


def test_tail_tells_exchanges_when_they_end_until_it_is_stopped(folder: Path) -> None:
    with recording(records_in(folder)) as recorder:
        _begin(recorder, "before", ago=60)
        _end(recorder, "before")
        recorder.flush()
        with _tailing(folder, "--format", "json", "--model", "gpt-5") as (running, told):
            eventually(lambda: "before" in told.read_text(), 30, "the exchange of before")
            for name, model in (("slow", "gpt-5"), ("quick", "gpt-5"), ("other", "o3")):
                _begin(recorder, name, model=model)
            for name in ("quick", "other"):
                _end(recorder, name)
            eventually(lambda: "quick" in told.read_text(), 30, "the quick exchange")
            _end(recorder, "slow")
            eventually(lambda: "slow" in told.read_text(), 30, "the slow exchange")
            running.send_signal(signal.SIGINT)
            assert running.wait(30) == 0
            assert running.stderr is not None and running.stderr.read() == ""
        names = [json.loads(line)["id"] for line in told.read_text().splitlines()]
    assert names == ["before", "quick", "slow"]


def test_following_tells_each_exchange_once_also_many(tmp_path: Path) -> None:
    with recording(records_in(tmp_path)) as recorder:
        following = Following(recorder.questions(NO_PRICES), Filter(), datetime.now(UTC))
        names = [f"many-{number}" for number in range(BATCH + 20)]
        for name in names:
            _begin(recorder, name)
            recorder.tell(ended(name))
        recorder.flush()
        assert sorted(row["id"] for row in following.ended()) == sorted(names)
        assert list(following.ended()) == []


def test_list_shows_what_failed(folder: Path) -> None:
    with recording(records_in(folder)) as recorder:
        for name, status in (("good", "completed"), ("bad", "failed")):
            _begin(recorder, name)
            recorder.tell(ended(name, status=status, error_code="upstream_unreachable"))
    heading, row = _usage(folder, "list", "--status", "error").stdout.splitlines()
    assert heading.split()[2:] == ["id", "status", "model", "tokens", "cost"]
    assert row.split()[2:] == ["bad", "failed", "gpt-5", "0→0", "–", "upstream_unreachable"]
    lines = _usage(folder, "list", "--format", "json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["bad", "good"]
    assert len(_usage(folder, "list", "-n", "1").stdout.splitlines()) == 2


def test_an_export_holds_every_column_of_every_exchange(folder: Path) -> None:
    names = [f"e-{number:04}" for number in range(BATCH + 3)]
    with recording(records_in(folder)) as recorder:
        for number, name in enumerate(names):
            _begin(recorder, name, ago=len(names) - number, user='"quoted", with\na line')
        _end(recorder, names[0])
    rows = [json.loads(line) for line in _usage(folder, "export").stdout.splitlines()]
    assert [row["id"] for row in rows] == names
    assert list(rows[0]) == list(EXPORTED)
    assert (rows[0]["input"], rows[0]["prompt"], rows[0]["metadata"]) == (200, PROMPT, {"team": "search"})
    table = list(csv.DictReader(_usage(folder, "export", "--format", "csv").stdout.splitlines(keepends=True)))
    assert [row["id"] for row in table] == names
    assert (table[0]["user"], table[0]["input"]) == ('"quoted", with\na line', "200")
    assert table[0]["started_at"].endswith("+00:00")


def test_an_export_into_a_pipe_that_closes_ends(folder: Path) -> None:
    with recording(records_in(folder)) as recorder:
        for number in range(800):
            _begin(recorder, f"e-{number}", user="x" * 400)
    reading, writing = os.pipe()
    running = subprocess.Popen(
        (*COMMAND, "export"),
        cwd=folder,
        env=clean_env(folder / "home"),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    os.read(reading, 10)
    os.close(reading)
    _, said = running.communicate(timeout=60)
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--status", "odd"), "--status cannot be 'odd'; write one of running, completed"),
        (("list", "--until", "soon"), "--until cannot be 'soon'; write a time like 7d"),
        (("export", "--format", "xml"), "--format cannot be 'xml'; write one of jsonl, csv"),
        (("tail", "--format", "xml"), "--format cannot be 'xml'; write one of table, json"),
        (("--by", "model", "--since", "2026-13-01"), "--since cannot be '2026-13-01'"),
    ],
)
def test_a_wrong_option_is_one_sentence(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    assert _refused(_usage(folder, *arguments)).startswith(f"aibridge: {said}")


def test_rounds_are_priced_again(folder: Path) -> None:
    with recording(records_in(folder)) as recorder:
        _begin(recorder, "a", model="own-1")
        _end(recorder, "a")

    def cost() -> Any:
        [total] = json.loads(_usage(folder, "--format", "json").stdout)
        return total["cost_micros"]

    assert cost() is None
    file = folder / "aibridge.yaml"
    config = yaml.safe_load(file.read_text())
    config["records"]["pricing"] = {"own-*": {"input": 2, "output": 10}}
    file.write_text(yaml.safe_dump(config))
    ran = _usage(folder, "reprice")
    assert ran.stdout == "2 rounds have a price now, 0 still have none\n"
    assert cost() == 2 * (125 * 2 + 30 * 10)
