"""`serve` from options alone, and the demo."""

import http.client
import json
import os
import sys
from pathlib import Path

import pytest

from tests.support.bridge import Bridge
from tests.support.environment import clean_env, free_port
from tests.support.processes import run, running
from tests.support.raw import Talk, ask, raw_upstream, send
from tests.support.serving import Model
from tests.support.waiting import eventually

COMMAND = (sys.executable, "-W", "error", "-m", "aibridge.cli")


def _has_tools(port: int) -> bool:
    servers = send(port, method="GET", path="/readyz").json["mcp_servers"]
    return all(server["state"] == "connected" for server in servers.values())


def test_serve_works_without_a_file(model: Model, tmp_path: Path) -> None:
    port = free_port()
    mcp = f"{sys.executable} -m aibridge.demo.tools"
    options = ("--upstream", model.base_url, "--api-key-env", "MY_KEY", "--mcp", mcp, "--port", str(port))
    env = clean_env(tmp_path / "home", MY_KEY="sk-my-own-key")
    with running((*COMMAND, "serve", *options), tmp_path, env, f"http://127.0.0.1:{port}/healthz") as program:
        eventually(lambda: _has_tools(port), 30, "the connection to the MCP server")
        said = 'call add {"a": 19, "b": 23}'
        got = ask(
            port, [("Authorization", "Bearer sk-callers")], messages=[{"role": "user", "content": said}]
        )
    assert got.status == 200, got.body
    assert got.json["choices"][0]["message"]["content"] == "add answered: 42"
    assert {asked.headers["authorization"] for asked in model.asked} == {"Bearer sk-my-own-key"}
    assert f"http://127.0.0.1:{port}/v1" in program.log
    assert (program.status, "Traceback" in program.log, "sk-my-own-key" in program.log) == (0, False, False)


def test_the_demo_shows_the_main_job_and_ends(tmp_path: Path) -> None:
    ran = run((*COMMAND, "demo", "--once"), tmp_path, clean_env(tmp_path / "home", COLUMNS="200"))
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "add answered: 42" in ran.stdout and "weather answered: " in ran.stdout
    seen, _, hidden = ran.stdout.partition("What was hidden")
    assert "demo__" not in seen.partition("sees one stream")[2]
    assert "weather" in hidden and "add" in hidden
    assert os.listdir(tmp_path) == ["home"], "it leaves nothing behind"  # noqa: PTH208


def test_an_answer_that_breaks_off_is_a_warning_and_no_error_of_the_log(tmp_path: Path) -> None:
    def breaks_off(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 100\r\n\r\npart")
        talk.hang_up()

    with (
        raw_upstream(breaks_off) as upstream,
        Bridge(tmp_path, {"upstreams": {"up": {"base_url": upstream.base_url}}}) as bridge,
    ):
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            send(bridge.port, method="GET", path="/v1/audio")
        assert bridge.ended()["status"] == "failed"
        bridge.stop()
        levels = [json.loads(line)["level"] for line in bridge.log.splitlines() if line.startswith("{")]
    assert "warning" in levels and "error" not in levels, bridge.log
