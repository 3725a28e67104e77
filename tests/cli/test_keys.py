"""`aibridge keys`: the same keys as `/api/keys`, made and ended whether a server runs or not."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.bridge import Bridge
from tests.support.commanding import Ran, command
from tests.support.keys import api
from tests.support.raw import ask
from tests.support.serving import Model
from tests.support.waiting import eventually


def _keys(folder: Path, *words: str) -> Ran:
    return command(folder, "keys", *words)


def _json(folder: Path, *words: str) -> Any:
    done = _keys(folder, *words, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = {"upstreams": {"up": {"base_url": "http://127.0.0.1:9/v1"}}}
    (tmp_path / "aibridge.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def test_keys_live_without_a_server(folder: Path) -> None:
    rules = (
        "--models",
        "gpt-*, fast",
        "--tools",
        "",
        "--rpm",
        "60",
        "--budget",
        "50/30d",
        "--expires",
        "90d",
    )
    made = _keys(folder, "create", "team", *rules, "--no-prompts", "--metadata", "team=search")
    assert made.returncode == 0, made.stderr
    text = made.stdout.strip()
    assert text.startswith("sk-aib-") and "not shown again" in made.stderr
    [listed] = _json(folder, "list")
    assert (listed["models"], listed["tools"], listed["rpm"]) == (["gpt-*", "fast"], [], 60)
    shown = _json(folder, "show", "team")
    assert (shown["state"], shown["spent"], shown["prompts"]) == ("active", 0.0, False)
    new = _json(folder, "rotate", "team", "--grace", "1d")
    assert new["key"] != text and new["old_until"]
    assert _json(folder, "revoke", listed["id"])["state"] == "revoked"
    rows = _json(folder, "audit")
    assert [row["action"] for row in rows] == ["key.revoke", "key.rotate", "key.create"]
    assert all(row["actor"].endswith("(command line)") for row in rows)
    assert text.rpartition("-")[2] not in json.dumps(rows)
    assert "team" in _keys(folder, "list").stdout and "key.revoke" in _keys(folder, "audit").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "x", "--budget", "much"), "--budget: write dollars and a period, for example 50/30d"),
        (("create", "x", "--rpm", "0"), "--rpm: Input should be greater than or equal to 1"),
        (("create", " "), "NAME: "),
        (("create", "x", "--expires", "soon"), "--expires: write a number with one of"),
        (("create", "x", "--metadata", "word"), "--metadata cannot be 'word'; write NAME=WORD"),
        (("revoke", "nobody"), "there is no key 'nobody'; `aibridge keys list` shows all"),
        (("rotate", "nobody", "--grace", "soon"), "--grace cannot be 'soon'"),
        (("list", "--format", "xml"), "--format cannot be 'xml'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(folder: Path, words: tuple[str, ...], said: str) -> None:
    done = _keys(folder, *words)
    assert done.returncode == 1
    assert said in done.stderr and "Traceback" not in done.stderr


def test_a_running_server_hears_of_keys_made_and_revoked_elsewhere(tmp_path: Path, model: Model) -> None:
    config = {"upstreams": {"up": {"base_url": model.base_url}}, "access": {"keys": "required"}}
    with Bridge(tmp_path, config) as bridge:

        def status(text: str) -> int:
            return ask(bridge.port, [("authorization", f"Bearer {text}")]).status

        key = _json(tmp_path, "create", "team")
        eventually(lambda: status(key["key"]) == 200, what="the key's beginning")
        _json(tmp_path, "revoke", "team")
        eventually(lambda: status(key["key"]) == 401, what="the key's end")
        assert [row["action"] for row in api(bridge.port, "GET", "/audit").json] == [
            "key.revoke",
            "key.create",
        ]
        log = bridge.log
    assert key["key"].rpartition("-")[2] not in log
