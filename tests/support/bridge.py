"""The real `aibridge serve` as a child process, with a folder and a configuration file of its own."""

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.support.environment import clean_env, free_port
from tests.support.processes import Program, run
from tests.support.raw import send
from tests.support.waiting import eventually

Json = dict[str, Any]
_AIBRIDGE = (sys.executable, "-m", "aibridge.cli")
_COUNTED = (sys.executable, "-P", str(Path(__file__).with_name("counted.py")))

_STARTING = 600.0 if os.environ.get("AIBRIDGE_SOAK") else 90.0
"""Seconds: hundreds of starts on a busy machine have slow ones among them."""


class Bridge:
    """`with Bridge(folder, config) as bridge:` begins when it serves and its MCP servers are connected.

    `config` is the configuration file's content; host and port are added. The records are in the folder.
    `connected` names the MCP servers to wait for, where it shall not be all.
    """

    def __init__(
        self, folder: Path, config: Mapping[str, Any], connected: Collection[str] | None = None
    ) -> None:
        self.folder, self.port = folder, free_port()
        self.file = folder / "aibridge.yaml"
        self._env = clean_env(folder / "home")
        self._awaited = config.get("mcp_servers", {}) if connected is None else connected
        listening = {**config.get("server", {}), "host": "127.0.0.1", "port": self.port}
        self.file.write_text(yaml.safe_dump({**config, "server": listening}, sort_keys=False))
        self._program: Program | None = None
        self._command: tuple[str | Path, ...] = (*_AIBRIDGE, "serve", "-c", self.file)

    def __enter__(self) -> "Bridge":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        if self._program is not None:
            self._program.stop()

    @property
    def url(self) -> str:
        """The origin, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What clients of OpenAI's API want to know."""
        return f"{self.url}/v1"

    @property
    def program(self) -> Program:
        """The process, also after its end."""
        assert self._program is not None, "start it first"
        return self._program

    @property
    def log(self) -> str:
        """All that it wrote to stderr so far."""
        return self.program.log

    def start(self) -> None:
        """Start it, also again after `kill` or `stop`, and wait until it can serve with tools."""
        self._program = Program(self._command, self.folder, self._env, "bridge")
        try:
            self._program.wait_for(f"{self.url}/healthz", _STARTING)
            eventually(self._connected, _STARTING, f"the connection to {', '.join(self._awaited)}")
        except BaseException:
            self._program.stop()
            raise

    def kill(self) -> None:
        """SIGKILL, as a crash would be."""
        self.program.kill()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self.program.stop()

    def count(self) -> None:
        """Let it be asked for a `census`; before its start."""
        self._command = (*_COUNTED, "serve", "-c", self.file)
        self._env["AIBRIDGE_CENSUS"] = str(self.folder / "census.json")

    def census(self) -> Json:
        """What lives in the process now (`counted`): `tasks` by name, `objects`, `types`."""
        file = self.folder / "census.json"
        file.unlink(missing_ok=True)
        os.kill(self.program.pid, signal.SIGUSR1)
        eventually(file.exists, 30, "the census")
        told: Json = json.loads(file.read_text())
        return told

    def readiness(self) -> Json:
        """What /readyz says."""
        told: Json = send(self.port, method="GET", path="/readyz").json
        return told

    def records(self, exchange: str = "last") -> Any:
        """One exchange as `aibridge usage show` tells it."""
        command = (*_AIBRIDGE, "usage", "show", exchange, "--format", "json", "-c", self.file)
        shown = run(command, self.folder, self._env)
        assert shown.returncode == 0, shown.stderr
        return json.loads(shown.stdout)

    def rows(self, table: str, exchange: str | None = None) -> list[Json]:
        """The rows of a table of the records' database, of one exchange or all, oldest first."""
        key = "id" if table == "exchanges" else "exchange_id"
        where, values = (f"WHERE {key} = ?", (exchange,)) if exchange else ("", ())
        with closing(sqlite3.connect(self.folder / "aibridge.db")) as database:
            database.row_factory = sqlite3.Row
            order = "started_at" if table == "exchanges" else "rowid"
            found = database.execute(f"SELECT * FROM {table} {where} ORDER BY {order}", values)
            return [dict(row) for row in found]

    def ended(self, exchange: str | None = None) -> Json:
        """The row of an exchange, or of the newest one, once it is written and has ended."""

        def last_ended() -> Json | None:
            if not (self.folder / "aibridge.db").exists():
                return None
            rows = self.rows("exchanges", exchange)
            return rows[-1] if rows and rows[-1]["status"] != "running" else None

        row = eventually(last_ended, what="the record of the exchange")
        assert row is not None
        return row

    def _connected(self) -> bool:
        assert self.program.status is None, f"the bridge ended:\n{self.log}"
        states = self.readiness().get("mcp_servers", {})
        return all(states.get(name, {}).get("state") == "connected" for name in self._awaited)
