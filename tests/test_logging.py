"""The log shows no secret, whatever is logged and by whom; and which exchange it speaks of."""

import io
import json
import logging
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog

from aibridge.config import Log, parse
from aibridge.masking import MASK, mask
from aibridge.telemetry.logging import configure
from tests.support.bridge import Bridge
from tests.support.bridged import bridged, configuration
from tests.support.raw import ask

SECRET = "a-configured-secret"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.e30.abc-DEF_123"
FORMATS = ("console", "json")


@pytest.fixture(params=FORMATS)
def written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the log writes, in either form, with one secret configured."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure(Log(level="debug", format=request.param), {SECRET, "abc"})
    return stream


def _log() -> Any:
    return structlog.get_logger("test").bind()


def _raise_with(secret: str) -> None:
    raise ValueError(f"it failed for {secret}")


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        f"x={SECRET};",
        f"Bearer {TOKEN}",
        f"authorization: bearer {TOKEN}",
        "sk-proj-0123456789abcdef",
        "sk-aib-0123456789abcdef",
        "Basic dXNlcjpwYXNzd29yZA==",
        "https://user:dXNlcjpwYXNz@host/v1",
    ],
)
def test_no_secret_is_written_by_anybody(written: io.StringIO, said: str) -> None:
    _log().info(f"one {said} two", value=said, deep={"list": [said]})
    logging.getLogger("a.library").warning("says %s", said)
    try:
        _raise_with(said)
    except ValueError:
        _log().exception("caught")
        logging.getLogger("a.library").exception("caught too")
    text = written.getvalue()
    assert text.count("it failed for") >= 2, "exceptions are shown"
    assert MASK in text
    for secret in (SECRET, TOKEN, "0123456789abcdef", "dXNlcjpwYXNz"):
        assert secret not in text


def test_short_secrets_do_not_tear_words_apart(written: io.StringIO) -> None:
    _log().info("abcdef")
    assert "abcdef" in written.getvalue()


def test_every_secret_of_the_configuration_is_known() -> None:
    config = parse(
        {
            "upstreams": {
                "up": {"base_url": "http://x/v1", "api_key": "a-key", "headers": {"x": "a-header"}}
            },
            "mcp_servers": {
                "a": {"command": "x", "env": {"T": "a-variable"}},
                "b": {"url": "http://x", "headers": {"T": "a-token"}},
            },
        }
    )
    assert config.secrets() >= {"a-key", "a-header", "a-variable", "a-token"}
    assert "a-key" not in repr(config) and "a-variable" not in str(config)


def test_json_lines_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure(Log(format="json"))
    _log().info("two\nlines", value={"a": object()})
    logging.getLogger("a.library").warning("says %s", "that")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["level"], second["event"]) == ("two\nlines", "info", "says that")


def test_the_level_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure(Log(level="warning", format="json"))
    _log().info("small talk")
    logging.getLogger("a.library").info("small talk")
    _log().warning("news")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["news"]


class _Broken(httpx2.AsyncBaseTransport):
    """An application's own transport with a bug, which tells what it should not."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise RuntimeError(f"a bug with {request.headers['authorization']}")


def test_a_bug_is_logged_with_its_exchange_and_without_secrets(written: io.StringIO, tmp_path: Path) -> None:
    config = configuration(tmp_path, "http://127.0.0.1:1/v1")
    with bridged(tmp_path, config, transport=_Broken()) as bridge:
        for authorization in (f"Bearer {TOKEN}", SECRET):
            got = ask(bridge.port, [("Authorization", authorization)])
            assert (got.status, got.error["code"]) == (500, "internal_error")
            row = bridge.ended()
            assert (row["status"], row["error_code"]) == ("failed", "internal_error")
            assert row["id"] in written.getvalue(), "the log names the exchange"
    text = written.getvalue()
    assert "a bug with" in text and "RuntimeError" in text
    assert SECRET not in text and TOKEN not in text
    assert "a bug with" not in got.body.decode() and SECRET not in str(bridge.app.config)


@pytest.mark.parametrize("form", FORMATS)
def test_a_bridge_at_work_logs_no_secret(tmp_path: Path, form: str) -> None:
    config = {
        "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": SECRET}},
        "mcp_servers": {"dead": {"command": "/no/such/program", "args": [SECRET], "env": {"T": SECRET}}},
        "telemetry": {"log": {"level": "debug", "format": form}},
    }
    with Bridge(tmp_path, config, connected=()) as bridge:
        got = ask(bridge.port, [("Authorization", f"Bearer {TOKEN}"), ("x-aibridge-key", TOKEN)])
        assert got.status == 502
        bridge.ended()
    assert bridge.program.status == 0
    assert SECRET not in bridge.log and TOKEN not in bridge.log


def test_an_exchange_that_failed_leaves_a_line(tmp_path: Path) -> None:
    config = {"upstreams": {"gone": {"base_url": "http://127.0.0.1:9/v1"}}}
    with Bridge(tmp_path, config) as bridge:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        answer = httpx2.post(f"{bridge.base_url}/chat/completions", json=body, trust_env=False, verify=False)
        assert answer.status_code == 502
        lines = [json.loads(line) for line in bridge.log.splitlines() if line.startswith("{")]
    (told,) = [line for line in lines if line["event"] == "exchange failed"]
    assert told["exchange"] == answer.headers["x-aibridge-exchange-id"]
    assert told["code"] == "upstream_unreachable" and "upstream 'gone' cannot be reached" in told["error"]


@pytest.mark.parametrize(
    "url", ["https://u:hunter22@mcp.example/x", "https://mcp.example/x?api_key=hunter22&a=1"]
)
def test_the_key_in_an_mcp_servers_url_is_masked(url: str) -> None:
    assert "hunter22" not in mask(f"url: {url}")
    assert "mcp.example/x" in mask(f"url: {url}")
