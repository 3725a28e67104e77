"""Commands that cannot do their work say so in one sentence; the others tell what is asked, and no secret.

One of each kind runs in a process of its own, the others in the test's.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.commanding import Ran, command
from tests.support.environment import clean_env, free_port
from tests.support.processes import run
from tests.support.raw import RawUpstream, answer_plainly, raw_upstream

COMMAND = (sys.executable, "-W", "error", "-m", "aibridge.cli")
SECRET = "sk-very-secret-0123456789"
DEMO = {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]}
GOOD: dict[str, Any] = {"upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": SECRET}}}
COMMANDS = ("serve", "check", "tools", "config")


def _process(folder: Path, *arguments: str) -> Ran:
    return run((*COMMAND, *arguments), folder, clean_env(folder / "home"))


def _configured(folder: Path, config: Any) -> Path:
    text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
    (folder / "aibridge.yaml").write_text(text)
    return folder


def _refused(ran: Ran, status: int = 1) -> str:
    """The one sentence of a command that could not do its work."""
    assert ran.returncode == status, (ran.stdout, ran.stderr)
    assert ran.stdout == ""
    [sentence] = ran.stderr.splitlines()
    assert sentence.startswith("aibridge: ") and SECRET not in sentence
    return sentence


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("upstreams: [", "aibridge.yaml:1: this is not YAML"),
        ("upstreams:\n\tup: {}", "aibridge.yaml:2: this is not YAML"),
        ("a: 1\na: 2", "'a' stands twice"),
        ("- upstreams", "not a list"),
        ("", "upstreams is missing"),
        ("upstreams: {}", "at least one entry"),
        ("upstreams:\n  up:\n    base_ur: http://x/v1", "aibridge.yaml:3: unknown key upstreams.up.base_ur"),
        ("upstreams:\n  up:\n    base_ur: http://x/v1", "did you mean `base_url`?"),
        (
            "upstreams: {up: {base_url: http://x/v1}}\nmcp_servers:\n  m: {comand: x}",
            "aibridge.yaml:3: unknown key mcp_servers.m.comand; did you mean `command`?",
        ),
        ("upstreams: {up: {base_url: http://x/v1}}\ntelemetry: {log: {lvl: x}}", "did you mean `level`?"),
        ("upstreams: {up: {base_url: http://x/v1}}\nserver: {qqq: x}", "known here are host, port"),
        ("upstraems: {}", "did you mean `upstreams`?"),
        ("upstreams:\n  up:\n    base_url: example.com", "aibridge.yaml:3: upstreams.up.base_url"),
        (f"upstreams:\n  up:\n    base_url: http://me:{SECRET}@x/v1", "no user or password into a URL"),
        (f"upstreams:\n  up:\n    base_url: http://x/v1?key={SECRET}", "no query into base_url"),
        ("upstreams:\n  1up:\n    base_url: http://x/v1", "no valid name"),
        (
            "upstreams:\n  up: {base_url: http://x/v1}\n  api:\n    base_url: http://x/v1",
            "aibridge.yaml:3: upstreams.api: /api is a route, which /{upstream}/v1 would hide; give it",
        ),
        ("upstreams: {up: {base_url: http://x/v1}}\nbridge:\n  heartbeat: often", "aibridge.yaml:3"),
        ("upstreams: {up: {base_url: http://x/v1}}\nserver:\n  port: 99999", "server.port"),
        ("upstreams: {up: {base_url: http://x/v1}}\nmcp_servers:\n  m: {}", "mcp_servers.m"),
        (
            "upstreams:\n  up: {base_url: http://x/v1, api_key: '${NO_SUCH_KEY}'}",
            "NO_SUCH_KEY, which is not set",
        ),
        (f"upstreams: {{up: {{base_url: http://x/v1, api_key: {{of: {SECRET}}}}}}}", "upstreams.up.api_key"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(tmp_path: Path, config: str, says: str) -> None:
    assert says in _refused(command(_configured(tmp_path, config), "config"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_that_the_file_is_wrong(tmp_path: Path, name: str) -> None:
    _configured(tmp_path, f"upstreams: {{up: {{base_url: {SECRET}}}}}")
    assert "upstreams.up.base_url" in _refused(_process(tmp_path, name))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_that_the_file_is_missing(tmp_path: Path, name: str) -> None:
    assert "no configuration file aibridge.yaml" in _refused(command(tmp_path, name))
    assert "elsewhere.yaml" in _refused(command(tmp_path, name, "-c", "elsewhere.yaml"))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "aibridge.yaml").write_bytes(b"\xff\xfe")
    assert "cannot be read as UTF-8" in _refused(command(tmp_path, "config"))
    assert "cannot be read" in _refused(command(tmp_path, "config", "-c", str(tmp_path)))


def test_the_file_is_named_by_the_environment_too(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(GOOD))
    assert command(tmp_path, "config", AIBRIDGE_CONFIG=str(other)).returncode == 0


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        sentence = _refused(command(_configured(tmp_path, GOOD), "serve", "--port", port))
    assert f"port {port} on 127.0.0.1 is taken" in sentence and "--port" in sentence


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])
def test_an_address_that_others_reach_has_to_be_wanted(tmp_path: Path, host: str) -> None:
    assert "--insecure" in _refused(command(_configured(tmp_path, GOOD), "serve", "--host", host))


def test_an_address_of_another_machine_cannot_be_listened_on(tmp_path: Path) -> None:
    ran = command(_configured(tmp_path, GOOD), "serve", "--host", "192.0.2.1", "--insecure", "--port", "0")
    assert "cannot listen on 192.0.2.1" in _refused(ran)


@pytest.mark.parametrize("host", ["no such name", "-"])
def test_a_host_that_is_no_address_is_told(tmp_path: Path, host: str) -> None:
    ran = command(_configured(tmp_path, GOOD), "serve", "--host", host, "--insecure", "--port", "0")
    assert "cannot listen on" in _refused(ran)


def test_a_key_that_is_not_set_is_told(tmp_path: Path) -> None:
    ran = command(tmp_path, "serve", "--upstream", "http://127.0.0.1:1/v1", "--api-key-env", "MY_KEY")
    assert "MY_KEY, named by --api-key-env, is not set" in _refused(ran)


def test_options_that_go_with_an_upstream_are_told(tmp_path: Path) -> None:
    assert "--upstream URL" in _refused(command(tmp_path, "serve", "--mcp", "uvx mcp-server-time"))


@pytest.mark.parametrize(
    ("option", "value"), [("--upstream", "not a url"), ("--mcp", ""), ("--mcp", "'unclosed")]
)
def test_options_that_make_no_sense_are_told(tmp_path: Path, option: str, value: str) -> None:
    more = () if option == "--upstream" else ("--upstream", "http://127.0.0.1:1/v1")
    _refused(command(tmp_path, "serve", option, value, *more))


def test_records_that_cannot_be_opened_are_told(tmp_path: Path) -> None:
    config = {**GOOD, "records": {"url": "sqlite:////dev/null/aibridge.db"}}
    ran = _process(_configured(tmp_path, config), "serve", "--port", "0")
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("aibridge: the records' database") and "/dev/null" in last
    assert "Traceback" not in ran.stderr and SECRET not in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--prot", "1"),
        ("nothing",),
        ("serve", "--port", "many"),
        ("serve", "--port", "70000"),
        ("serve", "--port", "-1"),
        ("serve", "--workers", "0"),
        ("serve", "--workers", "1000"),
        ("demo", "--port", "70000"),
    ],
)
def test_a_wrong_option_shows_the_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = command(tmp_path, *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Usage" in ran.stderr and "Traceback" not in ran.stderr


def test_check_names_what_does_not_work(tmp_path: Path) -> None:
    config = {
        "upstreams": {"up": {"base_url": f"http://127.0.0.1:{free_port()}/v1", "api_key": SECRET}},
        "mcp_servers": {"dead": {"command": "/no/such/program", "env": {"TOKEN": SECRET}}, "demo": DEMO},
    }
    ran = command(_configured(tmp_path, config), "check", "--format", "json")
    assert ran.returncode == 1
    told = json.loads(ran.stdout)
    up, dead, demo = told["checks"]
    assert (up["name"], up["works"]) == ("up", False) and "cannot be reached" in up["says"]
    assert (dead["name"], dead["works"]) == ("dead", False) and dead["says"]
    assert (demo["name"], demo["works"], demo["says"]) == ("demo", True, "connected, 5 tools")
    assert "demo__add" in told["tools"]
    assert SECRET not in ran.stdout + ran.stderr and "Traceback" not in ran.stdout + ran.stderr


@pytest.fixture
def upstream() -> Any:
    with raw_upstream(answer_plainly) as upstream:
        yield upstream


def test_check_is_content_where_all_works(tmp_path: Path, upstream: RawUpstream) -> None:
    upstream.answer = lambda talk: talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    config = {
        "upstreams": {"up": {"base_url": upstream.base_url, "api_key": SECRET}},
        "mcp_servers": {"demo": DEMO},
    }
    ran = command(_configured(tmp_path, config), "check", COLUMNS="200")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "fails" not in ran.stdout and "demo__add" in ran.stdout
    assert upstream.heard[0].all("authorization") == [f"Bearer {SECRET}"]
    assert SECRET not in ran.stdout


def test_check_tells_that_an_upstream_refuses_our_key(tmp_path: Path, upstream: RawUpstream) -> None:
    upstream.answer = lambda talk: talk.send(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n")
    config = {"upstreams": {"up": {"base_url": upstream.base_url, "api_key": SECRET}}}
    ran = command(_configured(tmp_path, config), "check", "--format", "json")
    assert ran.returncode == 1
    assert "refuses our api_key" in json.loads(ran.stdout)["checks"][0]["says"]


def test_tools_shows_names_and_reasons(tmp_path: Path) -> None:
    demo = {**DEMO, "deny": ["fail"]}
    _configured(tmp_path, {**GOOD, "mcp_servers": {"demo": demo}})
    ran = command(tmp_path, "tools", COLUMNS="200")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "demo__add" in ran.stdout and "demo__fail" not in ran.stdout and "deny" in ran.stdout
    told = json.loads(command(tmp_path, "tools", "--format", "json", "--wanted", "demo__a*").stdout)
    assert [each["tool"] for each in told if each["reason"] is None] == ["add"]
    assert {each["tool"] for each in told} == {"add", "fail", "now", "slow", "weather"}


def test_tools_says_which_server_is_silent(tmp_path: Path) -> None:
    dead = {"command": "/no/such/program", "env": {"TOKEN": SECRET}}
    ran = command(_configured(tmp_path, {**GOOD, "mcp_servers": {"dead": dead}}), "tools")
    assert ran.returncode == 1
    [sentence] = ran.stderr.splitlines()
    assert sentence.startswith("aibridge: MCP server 'dead' is not connected: ")
    assert SECRET not in ran.stdout + ran.stderr


def test_config_masks_every_secret(tmp_path: Path) -> None:
    config = {
        "upstreams": {"up": {**GOOD["upstreams"]["up"], "headers": {"x-token": SECRET}}},
        "mcp_servers": {
            "stdio": {"command": "x", "env": {"TOKEN": SECRET}},
            "http": {"url": "http://127.0.0.1:1/mcp", "headers": {"Authorization": f"Bearer {SECRET}"}},
        },
    }
    _configured(tmp_path, config)
    as_yaml, as_json = command(tmp_path, "config"), command(tmp_path, "config", "--format", "json")
    assert as_yaml.returncode == as_json.returncode == 0
    assert SECRET not in as_yaml.stdout + as_json.stdout
    told = json.loads(as_json.stdout)
    assert yaml.safe_load(as_yaml.stdout) == told
    assert set(told["upstreams"]["up"]["api_key"]) == {"*"}
    assert told["server"]["port"] == 4180, "defaults are shown"


def test_config_takes_values_of_the_environment(tmp_path: Path) -> None:
    _configured(tmp_path, {"upstreams": {"up": {"base_url": "${BASE}", "api_key": "${KEY:-}"}}})
    told = json.loads(command(tmp_path, "config", "--format", "json", BASE="http://x/v1", KEY=SECRET).stdout)
    assert (told["upstreams"]["up"]["base_url"], told["upstreams"]["up"]["api_key"]) == (
        "http://x/v1",
        "**********",
    )


def test_config_prints_its_schema_without_a_file(tmp_path: Path) -> None:
    ran = command(tmp_path, "config", "--schema")
    assert ran.returncode == 0
    schema = json.loads(ran.stdout)
    assert schema["required"] == ["upstreams"]
    assert all("description" in each for each in schema["properties"].values())


def test_a_reader_that_goes_away_is_no_crash(tmp_path: Path) -> None:
    _configured(tmp_path, GOOD)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        ran = subprocess.run(
            (*COMMAND, "config"),
            cwd=tmp_path,
            env=clean_env(tmp_path / "home"),
            stdout=closed,
            stderr=subprocess.PIPE,
        )
    assert b"Traceback" not in ran.stderr


def test_the_version_is_told(tmp_path: Path) -> None:
    assert _process(tmp_path, "--version").stdout.startswith("aibridge ")
