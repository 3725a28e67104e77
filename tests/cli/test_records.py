"""`aibridge records` as operators run it: the state told, old rows deleted, a user forgotten."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from aibridge.bridge import lately
from aibridge.cli import main
from aibridge.demo.tools import create_server
from tests.records.telling import child, recording, records_in, select, started, whole
from tests.support.bridged import bridged, configuration
from tests.support.environment import clean_env
from tests.support.postgres import Cluster
from tests.support.processes import run
from tests.support.raw import send
from tests.support.serving import Model

Json = dict[str, Any]
UPSTREAM = {"openai": {"base_url": "http://127.0.0.1:9/v1"}}
TELL_AND_DIE = """
recorder = open_records(config)
for fact in whole("left-behind"):
    recorder.tell(fact)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a configuration whose records are in it."""
    _configure(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _configure(folder: Path, **records: Any) -> None:
    places = {"url": f"sqlite:///{folder / 'aibridge.db'}", "journal": str(folder / "journal")}
    config = {"upstreams": UPSTREAM, "records": {**places, **records}}
    (folder / "aibridge.yaml").write_text(yaml.safe_dump(config))


def _records(*words: str) -> Result:
    ran = CliRunner().invoke(main, ["records", *words])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran


def _told(*words: str) -> str:
    ran = _records(*words)
    assert (ran.exit_code, ran.stderr) == (0, ""), ran.stderr
    return ran.stdout


def _refused(*words: str) -> str:
    """The one sentence of a command that could not do its work."""
    ran = _records(*words)
    assert (ran.exit_code, ran.stdout) == (1, "")
    [sentence] = ran.stderr.splitlines()
    return sentence.removeprefix("aibridge: ")


def _record(folder: Path, *names: str, **changes: Any) -> None:
    with recording(records_in(folder)) as recorder:
        for name in names:
            for fact in (started(name, **{"started_at": time.time(), **changes}), *whole(name)[1:]):
                recorder.tell(fact)


def _audited(folder: Path) -> list[tuple[str, str, Json]]:
    """Action, subject and detail of each row of the audit, the oldest first."""
    rows = select(folder, "SELECT actor, action, subject, detail FROM audit ORDER BY id")
    assert all(actor.endswith(" (command line)") for actor, *_ in rows)
    return [(action, subject, json.loads(detail)) for _, action, subject, detail in rows]


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_real_command_tells_the_state(folder: Path) -> None:
    _record(folder, "a", "b")
    command = (sys.executable, "-W", "error", "-m", "aibridge.cli", "records", "status")
    ran: subprocess.CompletedProcess[str] = run(command, folder, clean_env(folder / "home"))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"database   sqlite:///{folder / 'aibridge.db'}  0." in ran.stdout and " MiB" in ran.stdout
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert ["2", "exchanges"] in lines and ["4", "token_usages"] in lines and ["0", "answer_ids"] in lines
    assert ran.stdout.splitlines()[-1] == f"journals   {folder / 'journal'}", "none is left"


def test_the_state_tells_living_and_dead_journals_and_folds_nothing(folder: Path) -> None:
    assert child(TELL_AND_DIE, folder).returncode == -9
    for _ in range(2):
        [journal] = json.loads(_told("status", "--format", "json"))["journals"]
        assert journal["bytes"] > 0 and not journal["alive"], "still there"
    assert f"{journal['id']}  left behind; the next start folds it" in _told("status")
    with recording(records_in(folder)):
        told = json.loads(_told("status", "--format", "json"))
        assert [each["alive"] for each in told["journals"]] == [True]
        assert "of a living process" in _told("status")
    assert told["error"] is None and told["database_bytes"] > 0 and told["rows"]["exchanges"] == 1


def test_without_records_the_state_says_so_and_makes_none(folder: Path) -> None:
    told = json.loads(_told("status", "--format", "json"))
    assert (told["database_bytes"], told["rows"], told["journals"]) == (None, {}, [])
    assert "–" in _told("status")
    for words in (("forget", "--user", "ada", "--yes"), ("prune",)):
        assert _refused(*words).startswith(f"there are no records yet: neither sqlite:///{folder}")
    assert _files(folder) == {"aibridge.yaml"}


def test_a_user_is_counted_and_then_forgotten(folder: Path) -> None:
    _record(folder, "a", "b")
    _record(folder, "c", user="bob")
    counted = _told("forget", "--user", "ada").splitlines()
    rows = ["2  exchanges", "2  prompts", "4  thoughts", "2  tool calls", "4  token usages"]
    assert counted[0] == "there are, of the user ada:"
    assert counted[-1] == "nothing was deleted; --yes deletes"
    assert sorted(line.strip() for line in counted[1:-1]) == sorted(rows)
    gone = _told("forget", "--user", "ada", "--yes").splitlines()
    assert gone[0] == "deleted, of the user ada:" and gone[1:] == counted[1:-1]
    assert select(folder, "SELECT id FROM exchanges") == [("c",)]
    [(action, subject, detail)] = _audited(folder)
    assert (action, subject) == ("records.forget", "user") and "ada" not in str(detail)
    assert detail == {"exchanges": 2, "prompts": 2, "thoughts": 4, "tool_calls": 2, "token_usages": 4}
    assert _told("forget", "--user", "ada", "--yes") == "there is nothing of the user ada\n"


def test_what_a_dead_process_left_is_forgotten_too(folder: Path) -> None:
    assert child(TELL_AND_DIE, folder).returncode == -9
    (folder / "aibridge.db").unlink()
    assert "1  exchanges" in _told("forget", "--caller", "anonymous", "--yes")
    assert select(folder, "SELECT count(*) FROM exchanges") == [(0,)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("forget",), "name one of --user, --caller and --key"),
        (("forget", "--user", ""), "name one of --user, --caller and --key"),
        (("forget", "--user", "ada", "--key", "k"), "name one of --user, --caller and --key"),
        (("status", "--format", "xml"), "--format cannot be 'xml'; write one of text, json"),
        (("prune", "-c", "elsewhere.yaml"), "there is no configuration file elsewhere.yaml"),
        (
            ("forget", "--user", "ada", "-c", "elsewhere.yaml"),
            "there is no configuration file elsewhere.yaml",
        ),
    ],
)
def test_a_wrong_wish_is_one_sentence(folder: Path, words: tuple[str, ...], says: str) -> None:
    _record(folder, "a")
    assert _refused(*words).startswith(says)
    assert select(folder, "SELECT id FROM exchanges") == [("a",)]


def test_who_is_not_there_is_said_without_control_characters(folder: Path) -> None:
    _record(folder, "a")
    for more in ((), ("--yes",)):
        told = _told("forget", "--user", "\x1b[2Jnobody", *more)
        assert told == "there is nothing of the user \N{REPLACEMENT CHARACTER}[2Jnobody\n"
    assert "of the key k-1" in _told("forget", "--key", "k-1")


def test_old_rows_are_deleted_now(folder: Path) -> None:
    old, new = (f"{int((time.time() - days * 86400) * 1000):012x}" for days in (3, 1))
    names = [f"{moment[:8]}-{moment[8:]}-7000-8000-000000000000" for moment in (old, new)]
    _record(folder, *names)
    _configure(folder, retention="2d")
    lines = _told("prune").splitlines()
    assert lines[0].startswith("deleted, older than 20") and lines[0].endswith(" UTC:")
    assert "1  exchanges" in {line.strip() for line in lines}
    assert select(folder, "SELECT id FROM exchanges") == [(names[1],)]
    [(action, subject, detail)] = _audited(folder)
    assert action == "records.prune" and f"deleted, {subject}:" == lines[0] and detail["exchanges"] == 1
    assert _told("prune").startswith("nothing is older than 20")


@pytest.mark.parametrize(
    ("retention", "says"),
    [
        ("off", "records.retention is off: nothing is ever too old"),
        ("soon", "aibridge.yaml"),
        ("-1d", "aibridge.yaml"),
    ],
)
def test_a_wrong_retention_is_one_sentence(folder: Path, retention: str, says: str) -> None:
    _record(folder, "a")
    _configure(folder, retention=retention)
    sentence = _refused("prune")
    assert sentence.startswith(says) and "records.retention" in sentence
    assert select(folder, "SELECT id FROM exchanges") == [("a",)]


def test_a_database_that_is_away_or_none_is_one_sentence(folder: Path) -> None:
    (folder / "aibridge.db").write_text("this is no database, whatever its name says")
    for words in (("forget", "--user", "ada"), ("prune",)):
        assert "aibridge.db" in _refused(*words)
    _configure(folder, url="postgresql://me:hunter2@127.0.0.1:9/none")
    for line in ("forget --user ada --yes", "prune"):
        sentence = _refused(*line.split())
        assert "cannot be reached" in sentence and "hunter2" not in sentence
    told = _told("status")
    assert "hunter2" not in told and "refused" in told


def test_in_postgresql_the_same(folder: Path, postgres: Cluster) -> None:
    _configure(folder, url=postgres.database())
    assert "there is nothing of the user ada" in _told("forget", "--user", "ada", "--yes")
    told = json.loads(_told("status", "--format", "json"))
    assert told["rows"]["exchanges"] == 0 and told["database_bytes"] > 0
    assert "nothing is older" in _told("prune")


def test_an_answer_of_somebody_who_is_forgotten_cannot_be_gone_on_from(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lately, "FRESH", 0.0)  # a minute has passed

    def respond(port: int, **body: Any) -> Json:
        asked = {"model": "scripted-1", "safety_identifier": "ada", **body}
        told: Json = send(port, json.dumps(asked).encode(), path="/v1/responses").json
        return told

    with bridged(folder, configuration(folder, model.base_url), {"demo": create_server()}) as bridge:
        first = respond(bridge.port, input='call add {"a":1,"b":2}')
        again = respond(bridge.port, input="say Bye.", previous_response_id=first["id"])
        assert again["output"]
        bridge.ended()
        gone = {line.strip() for line in _told("forget", "--user", "ada", "--yes").splitlines()}
        assert "2  exchanges" in gone and any(line.endswith("  answer ids") for line in gone)
        assert bridge.rows("answer_ids") == [] and bridge.rows("hidden_turns") == []
        lost = respond(bridge.port, input="say Bye.", previous_response_id=first["id"])
    assert "error" in lost, "the upstream knows the first round alone, whose call has no output"
