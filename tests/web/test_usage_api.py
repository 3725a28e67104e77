"""`/api/usage`, `/api/exchanges`, `/api/export` of a running bridge, and every route as its document says."""

import csv
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibridge.facts import Fact
from aibridge.ids import new_id
from aibridge.nouns import Filter, Usage
from aibridge.records.listing import EXPORTED
from aibridge.records.pricing import NO_PRICES
from aibridge.records.questions import Questions
from tests.records.telling import PROMPT, call_ended, ended, round_ended, started
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.clients import http_client
from tests.support.environment import clean_env
from tests.support.processes import run

Json = dict[str, Any]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridged]:
    """A bridge whose records hold six exchanges of the last minutes, one of them failed."""
    folder = tmp_path_factory.mktemp("usage-api")
    with bridged(folder, configuration(folder, "http://127.0.0.1:9/v1")) as bridge:
        recorder = bridge.app.rooms().recorder
        for fact in _facts():
            recorder.tell(fact)
        assert recorder.flush()
        yield bridge


def _facts() -> Iterator[Fact]:
    now = datetime.now(UTC)
    for number in range(6):
        name, when = new_id(), (now - timedelta(minutes=9 - number)).timestamp()
        yield started(name, started_at=when, model=f"m-{number % 2}", user=f"user-{number}")
        yield round_ended(name, usage=Usage(input=100 + number, output=7), ended_at=when)
        yield call_ended(name, started_at=when)
        status = "failed" if number == 3 else "completed"
        yield ended(name, ended_at=when + 1, status=status)


def _get(site: Bridged, path: str, **query: Any) -> httpx2.Response:
    with http_client() as client:
        return client.get(f"{site.url}{path}", params=query)


def _questions(site: Bridged) -> Questions:
    return site.app.rooms().recorder.questions(NO_PRICES)


def test_totals_are_those_of_the_command(site: Bridged) -> None:
    told = _get(site, "/api/usage", by="model").json()
    assert (told["by"], told["until"]) == ("model", None)
    assert [(each["group"], each["exchanges"], each["errors"]) for each in told["groups"]] == [
        ("m-1", 3, 1),
        ("m-0", 3, 0),
    ]
    assert [each["input"] for each in told["groups"]] == [309, 306]
    assert _get(site, "/api/usage", by="model", limit=1).json()["groups"] == told["groups"][:1]
    groups = _questions(site).totals("model", Filter())
    assert [each["first_byte_p95"] for each in told["groups"]] == [each.first_byte_p95 for each in groups]
    [one] = _get(site, "/api/usage", by="tool", user="user-2").json()["groups"]
    assert (one["group"], one["calls"], one["duration_p50"], one["input"]) == ("time/now", 1, 12, None)


def test_pages_follow_each_other_by_their_cursor(site: Bridged) -> None:
    seen: list[str] = []
    query: Json = {"limit": 4}
    while True:
        page = _get(site, "/api/exchanges", **query).json()
        seen += [each["user"] for each in page["exchanges"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == [f"user-{number}" for number in reversed(range(6))]
    [failed] = _get(site, "/api/exchanges", status="error").json()["exchanges"]
    assert (failed["user"], failed["input"], failed["calls"]) == ("user-3", 103, 1)


def test_an_exchange_is_told_whole(site: Bridged) -> None:
    told = _get(site, "/api/exchanges/last").json()
    assert (told["user"], told["prompt"]) == ("user-5", PROMPT)
    assert [each["input"] for each in told["token_usages"]] == [105]
    assert [each["tool"] for each in told["tool_calls"]] == ["now"]
    assert told == _get(site, f"/api/exchanges/{told['id']}").json()
    route = _get(site, "/api/openapi.json").json()["paths"]["/api/exchanges/{id}"]["get"]
    described = route["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    assert {name for name, value in told.items() if isinstance(value, list)} <= described.keys()


def test_an_export_is_lines_of_json_or_csv(site: Bridged) -> None:
    lines = _get(site, "/api/export")
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    rows = [json.loads(line) for line in lines.text.splitlines()]
    assert [row["user"] for row in rows] == [f"user-{number}" for number in range(6)]
    assert list(rows[0]) == list(EXPORTED)
    table = _get(site, "/api/export", format="csv", model="m-1")
    assert table.headers["content-disposition"] == 'attachment; filename="exchanges.csv"'
    read = list(csv.DictReader(table.text.splitlines()))
    assert [(row["user"], row["input"], row["prompt"]) for row in read] == [
        (f"user-{number}", str(100 + number), PROMPT) for number in (1, 3, 5)
    ]


def test_rows_of_every_past_are_told(tmp_path: Path) -> None:
    """Metadata that an older aibridge kept however deep it was; an exchange whose beginning was lost."""
    with bridged(tmp_path, configuration(tmp_path, "http://127.0.0.1:9/v1")) as bridge:
        recorder = bridge.app.rooms().recorder
        deep, headless = new_id(), new_id()
        told = (started(deep, started_at=datetime.now(UTC).timestamp()), round_ended(deep), ended(headless))
        for fact in told:
            recorder.tell(fact)
        assert recorder.flush()
        nested = '{"a":' * 400 + "1" + "}" * 400
        _change(bridge.folder, f"UPDATE exchanges SET metadata = '{nested}' WHERE id = '{deep}'")
        _change(bridge.folder, f"UPDATE token_usages SET other = '{nested}'")
        [listed] = _get(bridge, "/api/exchanges", since="all").json()["exchanges"]
        assert (listed["id"], list(listed["metadata"])) == (deep, ["a"])
        assert list(_get(bridge, f"/api/exchanges/{deep}").json()["token_usages"][0]["other"]) == ["a"]
        lost = _get(bridge, f"/api/exchanges/{headless}").json()
        assert (lost["started_at"], lost["status"], lost["model"]) == (None, "completed", None)
        assert [each["id"] for each in lost["run"]] == [headless]
        exported = [
            json.loads(line)["id"] for line in _get(bridge, "/api/export", since="all").text.splitlines()
        ]
        assert exported == [deep, headless]
        for by in ("day", "model"):
            groups = _get(bridge, "/api/usage", by=by, since="all").json()["groups"]
            assert sum(each["exchanges"] for each in groups) == 2


@pytest.mark.parametrize(
    ("path", "query", "status", "message"),
    [
        ("/api/usage", {"by": "weather"}, 400, "by: Input should be 'model', 'user'"),
        ("/api/usage", {"since": "yesterday"}, 400, "since: write a time like 7d"),
        ("/api/usage", {"since": "2026-02-31"}, 400, "since: write a time like 7d"),
        ("/api/usage", {"limit": "0"}, 400, "limit: Input should be greater than or equal to 1"),
        ("/api/usage", {"status": "odd"}, 400, "status: Input should be 'running'"),
        ("/api/exchanges", {"limit": "1000000000"}, 400, "limit: Input should be less than or equal to 1000"),
        ("/api/exchanges", {"limit": "0"}, 400, "limit: Input should be greater than or equal to 1"),
        ("/api/exchanges", {"cursor": "%%%"}, 400, "this is no cursor of aibridge"),
        ("/api/exchanges", {"cursor": "AAAA"}, 400, "this is no cursor of aibridge"),
        ("/api/exchanges/0000", {}, 404, "there is no exchange 0000"),
        ("/api/exchanges/0", {}, 404, "more than one exchange begins with 0"),
        ("/api/export", {"format": "xml"}, 400, "format: Input should be 'jsonl' or 'csv'"),
        ("/api/weather", {}, 404, "there is no /api/weather"),
    ],
)
def test_a_wrong_question_is_one_sentence(
    site: Bridged, path: str, query: Json, status: int, message: str
) -> None:
    answer = _get(site, path, **query)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(message)


def test_a_database_that_is_gone_is_told(tmp_path: Path) -> None:
    with bridged(tmp_path, configuration(tmp_path, "http://127.0.0.1:9/v1")) as bridge:
        _change(bridge.folder, "ALTER TABLE exchanges RENAME TO elsewhere")
        for path in ("/api/usage", "/api/exchanges", "/api/exchanges/last", "/api/export"):
            answer = _get(bridge, path)
            assert answer.status_code == 503
            assert answer.json()["error"]["message"].startswith("the records' database cannot be read: ")
        _change(bridge.folder, "ALTER TABLE elsewhere RENAME TO exchanges")
        assert _get(bridge, "/api/usage").status_code == 200


def _change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "aibridge.db")) as database:
        database.execute(statement)
        database.commit()


def test_every_route_does_what_its_document_says(site: Bridged, tmp_path: Path) -> None:
    """schemathesis: no 5xx, only statuses, types and shapes that are told; wrong input is refused.

    That a date or cursor of the right form may still be wrong cannot be said in a schema.
    """
    program = Path(sys.executable).with_name("schemathesis")
    command = [
        *(str(program), "run", f"{site.url}/api/openapi.json", "--no-color", "--seed", "1"),
        *(
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            "2",
            "--exclude-checks",
            "positive_data_acceptance,ignored_auth",
        ),
    ]
    done = run(command, tmp_path, clean_env(tmp_path / "home"), seconds=110)
    assert done.returncode == 0, done.stdout
    assert "No issues found" in done.stdout
