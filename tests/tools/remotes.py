"""The house as a program behind a port of its own, which can be killed and started again."""

import asyncio
import sys
from pathlib import Path

from tests.support.environment import clean_env, free_port
from tests.support.processes import Program
from tests.tools.sites import configured

ROOT = Path(__file__).parents[2]


class Remote:
    """The house as a program on a port of its own, which can be killed and started again."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder, self._port, self._kind = folder, free_port(), kind
        self._programs: list[Program] = []
        self._origin = f"http://127.0.0.1:{self._port}"
        self.server = configured(self._origin, kind)
        self.servers = {"house": self.server}
        self._notes = folder / "notes"

    async def start(self) -> None:
        """Run it until it answers."""
        command = [
            sys.executable,
            "-m",
            "tests.tools.house",
            f"--{'sse' if self._kind == 'sse' else 'http'}",
            str(self._port),
        ]
        env = clean_env(self._folder / "home", PYTHONPATH=str(ROOT))
        program = Program([*command, "--notes", str(self._notes)], self._folder, env, "house")
        self._programs.append(program)
        await asyncio.to_thread(program.wait_for, self._origin)

    def kill(self) -> None:
        """End all of its programs, as a crash would."""
        for program in self._programs:
            program.kill()

    def noted(self, what: str) -> int:
        """How often it happened."""
        return self._notes.read_text().splitlines().count(what)
