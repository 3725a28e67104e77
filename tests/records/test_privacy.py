"""What the records never hold: texts that are not wanted, and secrets in those that are."""

from pathlib import Path
from typing import Any

import pytest

from aibridge.config import Records, parse
from aibridge.errors import ConfigError
from aibridge.facts import Fact
from aibridge.nouns import Caller, Keep
from tests.records.telling import (
    ARGUMENT,
    NOON,
    PROMPT,
    RESULT,
    THOUGHT,
    call_ended,
    dump,
    ended,
    recording,
    records_in,
    round_ended,
    select,
    started,
    whole,
)

SECRETS = {
    "prompt": "sk-proj-0123456789abcdef",
    "metadata": "hunter2-in-metadata",
    "user": "ghp_0123456789abcdefghijklmn",
    "user_agent": "0123456789abcdefagent",
    "session": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "arguments": "hunter2-in-arguments",
    "result": "hunter2-in-results",
    "error": "hunter2-in-error",
    "thought": "AKIAIOSFODNN7EXAMPLE",
    "ending": "hunter2-in-ending",
}


def _files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def _facts_with_secrets() -> list[Any]:
    caller = Caller("anonymous", None, f"agent/1 Bearer {SECRETS['user_agent']}", SECRETS["session"])
    return [
        started(
            "a",
            caller=caller,
            prompt=f"Use {SECRETS['prompt']} please",
            user=SECRETS["user"],
            metadata={"team": "search", "nested": [{"api_key": SECRETS["metadata"]}]},
        ),
        round_ended("a", thought=f"I know {SECRETS['thought']}"),
        call_ended(
            "a",
            arguments=f'{{"password": "{SECRETS["arguments"]}", "n": 1}}',
            result=f"https://host/x?token={SECRETS['result']}",
            status="error",
            error=f"postgresql://me:{SECRETS['error']}@host is away",
        ),
        ended("a", status="failed", error_message=f"secret={SECRETS['ending']} was refused"),
    ]


def test_what_looks_like_a_credential_reaches_neither_journal_nor_database(tmp_path: Path) -> None:
    with recording(records_in(tmp_path, results=True)) as recorder:
        for fact in _facts_with_secrets():
            recorder.tell(fact)
        assert recorder.flush()
        everything = _files(tmp_path) + "".join(dump(tmp_path)).encode()
        assert b"gpt-5-2026" in _files(tmp_path / "journal")
    assert [name for name, secret in SECRETS.items() if secret.encode() in everything] == []
    [(prompt,)] = select(tmp_path, "SELECT text FROM prompts")
    assert prompt == "Use sk-proj-**** please"
    [(metadata,)] = select(tmp_path, "SELECT metadata FROM exchanges")
    assert metadata == '{"team": "search", "nested": [{"api_key": "****"}]}'
    [(arguments, chars)] = select(tmp_path, "SELECT arguments, result_chars FROM tool_calls")
    assert arguments == '{"password": "****", "n": 1}'
    assert chars == len(f"https://host/x?token={SECRETS['result']}")


def test_patterns_of_the_configuration_are_masked_in_every_text(tmp_path: Path) -> None:
    config = Records(
        **{**records_in(tmp_path, results=True).model_dump(), "redact": [r"\b\d{4}-\d{4}\b", "(?i)lovelace"]}
    )
    facts: list[Fact] = [
        started("a", prompt="card 1234-5678", user="Lovelace", metadata={"who": ["LOVELACE", 1]}),
        round_ended("a", thought="1234-5678?"),
        call_ended("a", arguments='{"card": "1234-5678"}', result="ok 1234-5678", error="no 1234-5678"),
        ended("a", error_message="1234-5678 failed"),
    ]
    with recording(config) as recorder:
        for fact in facts:
            recorder.tell(fact)
        assert recorder.flush()
        everything = _files(tmp_path) + "".join(dump(tmp_path)).encode()
    assert b"1234-5678" not in everything and b"lovelace" not in everything.lower()
    assert select(tmp_path, "SELECT text FROM prompts") == [("card ****",)]
    assert select(tmp_path, "SELECT metadata FROM exchanges") == [('{"who": ["****", 1]}',)]


def test_a_key_says_what_is_kept_of_its_callers(tmp_path: Path) -> None:
    secretive = Caller("key-1", keep=Keep(prompts=False, arguments=False))
    open_ = Caller("key-2", keep=Keep(results=True))
    with recording(records_in(tmp_path)) as recorder:
        first = [started("a", caller=secretive), started("b", caller=open_), started("c")]
        for fact in [*first, *whole("a")[1:], *whole("b")[1:], *whole("c")[1:]]:
            recorder.tell(fact)
        recorder.tell(call_ended("a", started_at=NOON + 3))  # one that ended late
        assert recorder.flush()
    assert select(tmp_path, "SELECT exchange_id FROM prompts ORDER BY 1") == [("b",), ("c",)]
    assert select(tmp_path, "SELECT DISTINCT exchange_id FROM thoughts ORDER BY 1") == [("b",), ("c",)]
    calls = select(tmp_path, "SELECT exchange_id, arguments, result FROM tool_calls ORDER BY 1")
    arguments = f'{{"of": "{ARGUMENT}"}}'
    assert calls == [("a", None, None), ("a", None, None), ("b", arguments, RESULT), ("c", arguments, None)]


def test_a_pattern_that_is_none_is_said_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"records\.redact\.0: this is no regular expression"):
        parse({"upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1"}}, "records": {"redact": ["("]}})


@pytest.mark.parametrize(
    ("url", "secrets", "shown"),
    [
        (
            "postgresql://ada:p%40ss-word@host/db",
            {"p%40ss-word", "p@ss-word"},
            "postgresql://ada:****@host/db",
        ),
        (
            "postgres://host/db?user=a&password=p%40ss-word&x=1",
            {"p%40ss-word", "p@ss-word"},
            "postgresql://host/db?user=a&password=****&x=1",
        ),
        ("sqlite:///a.db", set(), "sqlite:///a.db"),
    ],
)
def test_the_password_of_the_database_shows_nowhere(url: str, secrets: set[str], shown: str) -> None:
    config = parse(
        {"upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1"}}, "records": {"url": url}}, environ={}
    )
    assert config.records.model_dump(mode="json")["url"] == str(config.records.url) == shown
    told = repr(config) + str(config) + config.model_dump_json()
    assert not [secret for secret in secrets if secret in told]
    assert config.secrets() == secrets
    assert THOUGHT not in told and PROMPT not in told
