"""`records.enabled: false`: exchanges pass, nothing is on the disk, and whoever asks is told so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from aibridge.cli import main
from aibridge.config import parse
from aibridge.demo.tools import create_server
from aibridge.errors import ConfigError
from tests.support.bridged import Bridged, bridged
from tests.support.raw import JSON_TYPE, ask, send
from tests.support.serving import Model
from tests.telemetry.collector import collector

Json = dict[str, Any]
OFF = "records are off (records.enabled: false in the configuration)"
ADD = 'call add {"a": 1, "b": 2}'
COLOUR: Json = {"type": "function", "name": "colour", "parameters": {"type": "object", "properties": {}}}


def _config(base_url: str, **parts: Any) -> Json:
    return {"upstreams": {"up": {"base_url": base_url}}, "records": {"enabled": False}, **parts}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: what is written by default is written here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bridge(place: Path, model: Model) -> Iterator[Bridged]:
    with bridged(place, _config(model.base_url), {"demo": create_server()}) as bridge:
        yield bridge
    assert list(place.iterdir()) == [], "nothing is on the disk, also after the end"


def _get(bridge: Bridged, path: str) -> Any:
    return send(bridge.port, method="GET", path=path)


def _respond(bridge: Bridged, **body: Any) -> Any:
    asked = json.dumps({"model": "scripted-1", **body}).encode()
    return send(bridge.port, asked, path="/v1/responses").json


def _user(text: str) -> Json:
    return {"role": "user", "content": text}


def test_exchanges_pass_and_are_still_counted(bridge: Bridged, place: Path) -> None:
    told = ask(bridge.port, messages=[_user(ADD)]).json
    assert told["choices"][0]["message"]["content"] == "add answered: 3"
    assert ask(bridge.port, stream=True, messages=[_user("say Hi.")]).body.endswith(b"data: [DONE]\n\n")
    passed = send(bridge.port, b'{"model": "m", "input": "x"}', path="/v1/embeddings")
    assert b"scripted 404" in passed.body, "the upstream's own answer"
    scraped = _get(bridge, "/metrics").body.decode()
    assert 'aibridge_mcp_calls_total{server="demo"} 1.0' in scraped
    assert "aibridge_exchanges_total{" in scraped and "aibridge_records_" not in scraped
    ready = _get(bridge, "/readyz").json
    assert (ready["status"], ready["records"]) == ("ready", {"state": "off"})
    assert list(place.iterdir()) == []


def test_hidden_turns_and_answers_are_kept_in_the_process(bridge: Bridged, model: Model) -> None:
    said = ask(bridge.port, messages=[_user(ADD)]).json["choices"][0]["message"]
    ask(bridge.port, messages=[_user(ADD), said, _user("say Bye.")])
    roles = [message["role"] for message in model.asked[-1].body["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    first = _respond(bridge, input=f"{ADD} and call colour", tools=[COLOUR])
    [call] = [item for item in first["output"] if item["type"] == "function_call"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "navy"}
    told = _respond(bridge, input=[output], previous_response_id=first["id"], tools=[COLOUR])
    assert "add answered: 3\ncolour answered: navy" in str(told["output"]).replace("\\n", "\n")


def test_the_api_says_that_records_are_off(bridge: Bridged) -> None:
    paths = ("usage", "exchanges", "exchanges/last", "export", "audit")
    for got in (_get(bridge, f"/api/{path}") for path in paths):
        assert got.status == 404 and OFF in got.error["message"]
    assert _get(bridge, "/api/keys").json == []
    made = send(bridge.port, b'{"name": "team"}', path="/api/keys")
    assert made.status == 409 and OFF in made.error["message"]
    refused = ask(bridge.port, [JSON_TYPE, ("authorization", "Bearer sk-aib-abc-def")])
    assert refused.status == 401, "a key that nobody made"


def test_traces_are_told_all_the_same(place: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        with bridged(place, _config(model.base_url), {"demo": create_server()}) as bridge:
            assert ask(bridge.port, messages=[_user(ADD)]).status == 200
    assert len(found.named("chat")) == 2 and len(found.named("execute_tool")) == 1


@pytest.mark.parametrize(
    "words",
    ["usage", "usage show last", "usage export", "keys list", "records forget --user ann", "records prune"],
)
def test_commands_say_that_records_are_off(place: Path, words: str) -> None:
    (place / "aibridge.yaml").write_text(yaml.safe_dump(_config("http://127.0.0.1:9/v1")))
    ran = CliRunner().invoke(main, words.split())
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"aibridge: {OFF}")
    assert [path.name for path in place.iterdir()] == ["aibridge.yaml"]


def test_the_state_of_records_says_that_they_are_off(place: Path) -> None:
    (place / "aibridge.yaml").write_text(yaml.safe_dump(_config("http://127.0.0.1:9/v1")))
    ran = CliRunner().invoke(main, ["records", "status"])
    assert ran.exit_code == 0 and OFF in ran.stdout
    assert [path.name for path in place.iterdir()] == ["aibridge.yaml"]


def test_keys_cannot_be_required_without_records() -> None:
    with pytest.raises(ConfigError, match=r"records\.enabled: false, write access\.keys"):
        parse(_config("http://127.0.0.1:9/v1", access={"keys": "required"}))
