"""`serve` as it starts: a stop that comes early is obeyed, and many files may be open."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.environment import clean_env, free_port
from tests.support.processes import Program, running
from tests.support.raw import connection
from tests.support.waiting import answers, eventually

UPSTREAMS = {"up": {"base_url": "http://127.0.0.1:1/v1"}}
FEW = ("/bin/sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh")
"""Begins a command with a soft limit of 256 descriptors."""
STOPPED = (sys.executable, "-P", str(Path(__file__).parents[1] / "support" / "stopped.py"))


@pytest.mark.parametrize(
    ("point", "workers"),
    [("made", 1), ("run", 1), ("served", 1), ("started", 1), ("forked", 2)],
)
def test_a_stop_while_it_starts_is_obeyed(tmp_path: Path, point: str, workers: int) -> None:
    config: dict[str, Any] = {
        "upstreams": UPSTREAMS,
        "server": {"port": free_port(), "workers": workers},
    }
    (tmp_path / "aibridge.yaml").write_text(yaml.safe_dump(config))
    env = {**clean_env(tmp_path / "home"), "AIBRIDGE_STOPPED": point}
    program = Program((*STOPPED, "serve"), tmp_path, env, "bridge")
    try:
        eventually(lambda: program.status is not None, 50, "the end")
        assert program.status == 0, program.log
        assert "listens on" in program.log and "Traceback" not in program.log
        assert "was lost" not in program.log
    finally:
        program.kill()
        program.stop()


def test_it_serves_more_connections_than_the_soft_limit_of_its_shell(tmp_path: Path) -> None:
    port = free_port()
    config = {"upstreams": UPSTREAMS, "server": {"port": port}}
    (tmp_path / "aibridge.yaml").write_text(yaml.safe_dump(config))
    command = (*FEW, sys.executable, "-m", "aibridge.cli", "serve")
    health = f"http://127.0.0.1:{port}/healthz"
    with running(command, tmp_path, clean_env(tmp_path / "home"), health) as program, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connection(port))
        assert answers(health), program.log
