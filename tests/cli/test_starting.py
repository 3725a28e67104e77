"""`serve` as it starts: a stop that comes early is obeyed, and many files may be open."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.environment import clean_env, free_port
from tests.support.processes import Program
from tests.support.waiting import eventually

STOPPED = (sys.executable, "-P", str(Path(__file__).parents[1] / "support" / "stopped.py"))


@pytest.mark.parametrize(
    ("point", "workers"),
    [("made", 1), ("run", 1), ("served", 1), ("started", 1), ("forked", 2)],
)
def test_a_stop_while_it_starts_is_obeyed(tmp_path: Path, point: str, workers: int) -> None:
    config: dict[str, Any] = {
        "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1"}},
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
