"""`aibridge usage` as people and scripts run it, on records of a server."""

import csv
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from aibridge.cli import usage
from aibridge.facts import Fact
from aibridge.ids import new_id
from aibridge.nouns import Caller, Usage
from aibridge.records import narrowing
from tests.records.telling import (
    ARGUMENT,
    PROMPT,
    call_ended,
    child,
    ended,
    recording,
    records_in,
    round_ended,
    select,
    started,
    whole,
)
from tests.support.commanding import Ran, command
from tests.support.environment import clean_env
from tests.support.processes import run

FIGURES = ("in", "cache", "out", "reasoning", "cost", "calls")
TELL_AND_DIE = """
recorder = open_records(config)
for fact in whole("done"):
    recorder.tell(fact)
recorder.tell(started("running", started_at=NOON + 1))
os.kill(os.getpid(), signal.SIGKILL)
"""
COMMAND = (sys.executable, "-W", "error", "-m", "aibridge.cli", "usage")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a configuration whose records are in it."""
    records = records_in(tmp_path)
    config = {
        "upstreams": {"openai": {"base_url": "http://localhost/v1"}},
        "records": {"url": records.url.get_secret_value(), "journal": records.journal},
    }
    (tmp_path / "aibridge.yaml").write_text(yaml.safe_dump(config))
    yield tmp_path


def _usage(folder: Path, *arguments: str, **env: str) -> Ran:
    return command(folder, "usage", *arguments, **env)


def _recorded(folder: Path, *names: str, **changes: Any) -> None:
    with recording(records_in(folder)) as recorder:
        for name in names:
            for fact in (started(name, started_at=time.time(), **changes), *whole(name)[1:]):
                recorder.tell(fact)


def _refused(ran: Ran) -> str:
    """The one sentence of a command that could not do its work."""
    assert (ran.returncode, ran.stdout) == (1, "")
    [sentence] = ran.stderr.splitlines()
    return sentence


def test_a_table_shows_the_figures(folder: Path) -> None:
    _recorded(folder, "a", "b")
    ran = run(COMMAND, folder, clean_env(folder / "home"))
    heading, row = ran.stdout.splitlines()
    assert heading.split() == ["model", "exch.", "err", "in", "cache", "out", "cost", "first", "byte", "own"]
    assert row.split() == ["gpt-5", "2", "0", "400", "100", "120", "–", "120ms", "0.35ms"]
    assert len(row) <= 80
    assert (ran.returncode, ran.stderr) == (0, "")


def test_json_holds_the_figures(folder: Path) -> None:
    _recorded(folder, "a")
    assert json.loads(_usage(folder, "--by", "client", "--format", "json").stdout) == [
        {
            "group": "Codex",
            "exchanges": 1,
            "errors": 0,
            "calls": 1,
            "input": 200,
            "cache_read": 40,
            "cache_write": 10,
            "output": 60,
            "reasoning": 20,
            "cost_micros": None,
            "unpriced": 2,
            "first_byte_p50": 120,
            "first_byte_p95": 120,
            "overhead_p50": 0.35,
            "overhead_p95": 0.35,
            "duration_p50": None,
            "duration_p95": None,
        }
    ]


def test_csv_holds_the_figures(folder: Path) -> None:
    _recorded(folder, "a", user='"quoted", with a comma')
    [row] = csv.DictReader(_usage(folder, "--by", "user", "--format", "csv").stdout.splitlines())
    assert (row["group"], row["input"], row["cost_micros"]) == ('"quoted", with a comma', "200", "")


def test_a_table_of_very_many_groups_shows_the_first_ones_and_says_so(folder: Path) -> None:
    with recording(records_in(folder)) as recorder:
        for number in range(503):
            recorder.tell(started(f"x{number}", started_at=time.time(), user=f"user-{number}"))
        recorder.tell(round_ended("x7", usage=Usage(input=1)))
    ran = _usage(folder, "--by", "user")
    assert len(ran.stdout.splitlines()) == 1 + usage.MOST_GROUPS
    assert ran.stdout.splitlines()[1].startswith("user-7 ")
    assert ran.stderr == "aibridge: only the first 500 are shown; --format csv or json has all\n"
    assert len(json.loads(_usage(folder, "--by", "user", "--format", "json").stdout)) == 503


def test_tokens_are_not_split_among_tools(folder: Path) -> None:
    _recorded(folder, "a")
    heading, row = _usage(folder, "--by", "tool").stdout.splitlines()
    assert heading.split() == ["tool", "exchanges", "calls", "errors", "p50", "p95"]
    assert row.split() == ["time/now", "1", "1", "0", "12ms", "12ms"]


def test_the_command_knows_all_groups_of_the_records() -> None:
    assert sorted(usage.BY) == sorted(narrowing.BY)


def test_only_the_asked_period_counts(folder: Path) -> None:
    with recording(records_in(folder)) as recorder:
        for name, days in (("old", 30), ("new", 0)):
            recorder.tell(started(name, started_at=time.time() - days * 86400, model=name))
            recorder.tell(ended(name))

    def groups(*arguments: str) -> list[str]:
        found = json.loads(_usage(folder, "--format", "json", *arguments).stdout)
        return sorted(total["group"] for total in found)

    assert groups() == groups("--since", "12h") == ["new"]
    assert (
        groups("--since", "60d")
        == groups("--since", "all")
        == groups("--since", "9" * 400 + "d")
        == ["new", "old"]
    )


def test_nothing_recorded_is_said(folder: Path) -> None:
    assert _usage(folder, "--since", "2026-01-31").stdout == (
        "no exchanges are recorded since 2026-01-31 00:00 UTC\n"
    )
    assert _usage(folder, "--since", "all", "--model", "m").stdout == "no such exchanges are recorded\n"
    assert json.loads(_usage(folder, "--format", "json").stdout) == []


def test_a_story_tells_who_asked_what_happened_and_how_it_ended(folder: Path) -> None:
    name = new_id()
    facts: list[Fact] = [
        started(
            name,
            caller=Caller("key-1", "Codex", "codex/1", "session-9"),
            answers_call_id="call_0",
            unavailable=("git", "web"),
            left_out=("time__zone",),
        ),
        round_ended(name, 1, usage=Usage(input=1200, output=30)),
        call_ended(name, status="timeout", error="no answer within 60 s", duration_ms=60000),
        call_ended(name, name="shell", injected=False, server=None, tool=None, status="relayed"),
        round_ended(name, 2, usage=Usage(source="missing")),
        ended(
            name, status="failed", http_status=502, error_code="upstream_unreachable", error_message="gone"
        ),
    ]
    with recording(records_in(folder)) as recorder:
        for fact in facts:
            recorder.tell(fact)
    told = _usage(folder, "show", name[:30]).stdout
    for part in (
        f"Exchange {name}",
        "key-1 asked for user ada with Codex",
        "session-9",
        "gpt-5, answered by gpt-5-2026",
        "3 injected tools",
        "MCP servers git, web",
        "left out   time__zone",
        PROMPT,
        "Round 1: tokens 1,200 in, 30 out",
        "time/now → timeout in 60000 ms",
        ARGUMENT,
        "no answer within 60 s",
        "shell → relayed to the client",
        "Round 2: tokens not known",
        "Ended: failed with HTTP 502 after 2.500 s",
        "unreachable: gone",
        "▼                                       after 120 ms",
        "▏                                        0.35 ms",
    ):
        assert part in told


def test_the_last_exchange_is_told_in_json(folder: Path) -> None:
    _recorded(folder, "first")
    _recorded(folder, "second")
    story = json.loads(_usage(folder, "show", "last", "--format", "json").stdout)
    assert (story["id"], story["status"], story["prompt"]) == ("second", "completed", PROMPT)
    assert [each["round"] for each in story["token_usages"]] == [1, 2]
    assert [each["tool"] for each in story["tool_calls"]] == ["now"]


def test_what_a_model_wrote_does_not_steer_the_terminal(folder: Path) -> None:
    _recorded(folder, "a", prompt="\x1b[2Jcleared \x9b31m [bold]kept[/bold]", model="\x1b]0;title\x07")
    told = _usage(folder, "show", "a").stdout + _usage(folder).stdout
    assert "[bold]kept[/bold]" in told
    assert not set(told) & set("\x1b\x9b\x07")


def test_an_exchange_whose_beginning_was_lost_is_told_as_far_as_it_is_known(folder: Path) -> None:
    with recording(records_in(folder)) as recorder:
        for fact in whole("headless")[1:]:
            recorder.tell(fact)
    ran = _usage(folder, "show", "headless")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "at an unknown time  an unknown caller asked" in ran.stdout
    assert "model      –, answered by gpt-5-2026" in ran.stdout
    assert "None" not in ran.stdout
    assert json.loads(_usage(folder, "show", "last", "--format", "json").stdout)["started_at"] is None
    [line] = _usage(folder, "export").stdout.splitlines()
    assert (json.loads(line)["id"], json.loads(line)["output"], json.loads(line)["calls"]) == (
        "headless",
        60,
        1,
    )
    assert _usage(folder, "export", "--since", "7d").stdout == ""
    for arguments in (("list", "--since", "all"), ("--by", "day", "--since", "all"), ("--by", "model")):
        assert _usage(folder, *arguments).returncode == 0


def test_an_unknown_exchange_is_one_sentence(folder: Path) -> None:
    assert _refused(_usage(folder, "show", "0000")) == "aibridge: there is no exchange 0000"
    assert _refused(_usage(folder, "show", "")) == (
        "aibridge: name an exchange by its id, by how that begins, or last"
    )
    assert "no exchange yet" in _refused(_usage(folder, "show", "last"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "--since cannot be 'yesterday'; write a time like 7d, 12h, 2026-01-31"),
        (("--since", "-1d"), "--since cannot be '-1d'"),
        (("--by", "weather"), "--by cannot be 'weather'; write one of model, user, key"),
        (("--format", "xml"), "--format cannot be 'xml'; write one of table, json, csv"),
        (("show", "last", "--format", "csv"), "--format cannot be 'csv'; write one of text, json"),
        (("--config", "none.yaml"), "there is no configuration file none.yaml"),
    ],
)
def test_a_wrong_option_is_one_sentence(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    assert _refused(_usage(folder, *arguments)).startswith(f"aibridge: {said}")


def test_records_that_cannot_be_opened_are_one_sentence(folder: Path) -> None:
    (folder / "aibridge.db").mkdir()
    assert "cannot be opened" in _refused(_usage(folder))


def test_the_configuration_is_found_by_option_folder_and_environment(folder: Path) -> None:
    _recorded(folder, "a")
    file = str((folder / "aibridge.yaml").rename(folder / "other.yaml"))
    (elsewhere := folder / "elsewhere").mkdir()
    assert "gpt-5" in _usage(elsewhere, "-c", file).stdout
    assert "gpt-5" in _usage(elsewhere, "-c", file, "show", "last").stdout
    assert "gpt-5" in _usage(elsewhere, "show", "last", "-c", file).stdout
    assert "gpt-5" in _usage(elsewhere, AIBRIDGE_CONFIG=file).stdout
    assert "there is no configuration file aibridge.yaml" in _refused(_usage(elsewhere))


def test_what_a_killed_server_told_is_shown(folder: Path) -> None:
    assert child(TELL_AND_DIE, folder).returncode == -9
    [total] = json.loads(_usage(folder, "--since", "all", "--format", "json").stdout)
    assert (total["exchanges"], total["errors"]) == (2, 1)
    assert "Ended: completed with HTTP 200" in _usage(folder, "show", "done").stdout
    assert "Ended: interrupted" in _usage(folder, "show", "last").stdout
    assert list((folder / "journal").iterdir()) == []


def test_it_works_while_a_server_runs_on_the_same_records(folder: Path) -> None:
    with recording(records_in(folder)) as recorder:
        recorder.tell(started("a", started_at=time.time()))
        assert recorder.flush()
        assert "Still running" in _usage(folder, "show", "a").stdout
        for fact in whole("a")[1:]:
            recorder.tell(fact)
        assert recorder.flush()
        assert "Ended: completed" in _usage(folder, "show", "a").stdout
        assert recorder.health()["state"] == "ok"


def test_what_cannot_be_folded_yet_is_said_beside_the_figures(folder: Path) -> None:
    _recorded(folder, "a")
    assert child(TELL_AND_DIE, folder).returncode == -9
    with closing(sqlite3.connect(folder / "aibridge.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ran = _usage(folder)
        other.execute("ROLLBACK")
    assert ran.returncode == 0
    assert "gpt-5" in ran.stdout
    assert "stays for later: database is locked" in ran.stderr
    assert "gpt-5" in _usage(folder).stdout
    assert select(folder, "SELECT status FROM exchanges WHERE id = 'running'") == [("interrupted",)]
