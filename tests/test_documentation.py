"""What the README and the example configuration show is run, or read, here."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from aibridge.config import Config, load, parse
from aibridge.errors import ConfigError
from tests.support.bridge import Bridge
from tests.support.environment import clean_env, free_port
from tests.support.processes import Program
from tests.support.serving import Model

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LOCAL = "http://127.0.0.1:4180"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """The commands of the console blocks, continued lines joined."""
    text = "\n".join(blocks("console"))
    joined = re.sub(r"-d '\n(.*?)'", lambda match: f"-d '{match[1]}'", text, flags=re.DOTALL)
    return [
        line.split("    #")[0].strip() for line in joined.split("\n") if re.match(r"aibridge|make|curl", line)
    ]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, shared_model: Model) -> Iterator[Bridge]:
    config = {
        "upstreams": {"openai": {"base_url": shared_model.base_url}},
        "mcp_servers": {"demo": {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]}},
    }
    with Bridge(tmp_path_factory.mktemp("readme"), config) as running:
        yield running


def run(command: list[str], bridge: Bridge) -> str:
    done = subprocess.run(
        command,
        cwd=bridge.folder,
        env=clean_env(bridge.folder / "home"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_knows_the_commands_of_the_readme() -> None:
    named = [command.split()[1] for command in commands() if command.startswith("make ")]
    assert named[:2] == ["demo", "test"], "the two commands stand at the top"
    for target in named:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_the_configuration_of_the_readme_is_valid() -> None:
    text, translated = blocks("yaml")
    assert parse(yaml.safe_load(translated)).upstreams["local"].apis == ["chat_completions"]
    config = parse(yaml.safe_load(text), environ={"OPENAI_API_KEY": "sk-test"})
    assert list(config.upstreams) == ["openai"] and list(config.mcp_servers) == ["time"]


def test_no_upstream_has_the_name_of_a_route_of_the_readme() -> None:
    served = re.findall(r"`(?:(?:GET|POST|DELETE) )?/(?:v1/)?(\w+)", README)
    assert {"v1", "chat", "responses", "models", "tools", "mcp", "readyz", "metrics", "api"} <= {
        "v1",
        *served,
    }
    for word in {"v1", *served}:
        with pytest.raises(ConfigError, match=f"upstreams.{word}: /{word} is a route"):
            parse({"upstreams": {word: {"base_url": "http://127.0.0.1:1/v1"}}})


def test_serve_with_options_serves(tmp_path: Path, model: Model) -> None:
    (command,) = [each for each in commands() if each.startswith("aibridge serve --")]
    port = free_port()
    upstream = command.replace("http://127.0.0.1:8000/v1", model.base_url)
    server = Path(sys.executable).with_name("mcp-server-time")
    words = shlex.split(upstream.replace("uvx mcp-server-time", str(server)))
    program = [sys.executable, "-m", "aibridge.cli", *words[1:], "--port", str(port)]
    serving = Program(program, tmp_path, clean_env(tmp_path / "home"), "serve")
    try:
        serving.wait_for(f"http://127.0.0.1:{port}/healthz")
    finally:
        serving.stop()


def test_the_request_of_the_readme_is_answered(bridge: Bridge) -> None:
    (command,) = [each for each in commands() if each.startswith("curl")]
    answer = run(shlex.split(command.replace(LOCAL, bridge.url)), bridge)
    assert answer.rstrip().endswith("data: [DONE]")


def test_the_python_of_the_readme_runs(bridge: Bridge) -> None:
    (code,) = blocks("python")
    assert "What time is it in Oslo?" in run([sys.executable, "-c", code.replace(LOCAL, bridge.url)], bridge)


def test_the_usage_commands_of_the_readme_run(bridge: Bridge) -> None:
    run([sys.executable, "-c", blocks("python")[0].replace(LOCAL, bridge.url)], bridge)
    bridge.ended()
    usage = [shlex.split(each)[1:] for each in commands() if each.startswith("aibridge usage")]
    assert len(usage) == 2
    for words in usage:
        assert "gpt-5-mini" in run([sys.executable, "-m", "aibridge.cli", *words], bridge)


def test_the_keys_command_of_the_readme_makes_a_key(bridge: Bridge) -> None:
    (command,) = [shlex.split(each)[1:] for each in commands() if each.startswith("aibridge keys")]
    assert run([sys.executable, "-m", "aibridge.cli", *command], bridge).startswith("sk-aib-")


def test_every_command_in_the_table_exists(bridge: Bridge) -> None:
    named = set(re.findall(r"^\| `aibridge (\w+)", README, re.MULTILINE))
    assert named == {"demo", "serve", "check", "tools", "usage", "keys", "records", "config"}
    for name in named:
        run([sys.executable, "-m", "aibridge.cli", name, "--help"], bridge)


def test_the_settings_of_opencode_are_json() -> None:
    (text,) = blocks("json")
    assert json.loads(text)["provider"]["aibridge"]["options"]["baseURL"] == f"{LOCAL}/v1"


def test_the_example_configuration_is_valid_and_shows_every_key() -> None:
    path = ROOT / "config.example.yaml"
    load(path, environ={})
    shown = yaml.safe_load(path.read_text())
    # Those two have no value that would work everywhere.
    assert missing(Config, shown) == ["upstreams.ca_file", "upstreams.proxy"]
    assert "# ca_file:" in path.read_text() and "# proxy:" in path.read_text()
    assert "include:" in path.read_text()
    del shown["server"]["port"], shown["upstreams"]["openai"]["models"]
    assert missing(Config, shown) == [
        "server.port",
        "upstreams.models",
        "upstreams.ca_file",
        "upstreams.proxy",
    ]


def missing(model: type[BaseModel], shown: Any) -> list[str]:
    """The keys of `model` that no entry of `shown` has."""
    absent = []
    for name, field in model.model_fields.items():
        if name not in shown:
            absent.append(name)
            continue
        annotation: Any = field.annotation
        inner = annotation.__args__[1] if _is_map(field) else annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            entries = list(shown[name].values()) if _is_map(field) else [shown[name]]
            together = {key: value for entry in entries for key, value in entry.items()}
            absent += [f"{name}.{each}" for each in missing(inner, together)]
    return absent


def _is_map(field: Any) -> bool:
    return getattr(field.annotation, "__origin__", None) is dict
