"""One measurement: the load generator against one contender, and a check that it does its work."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.processes import OTHERS_CORE, DidNotStart, Running, on_core
from bench.samples import Sample
from bench.works import HIDDEN, Work

PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Kit:
    """The compiled programs, the running upstream's pid, and a folder for what comes and goes."""

    programs: Path
    upstream: int
    folder: Path

    def measure(self, running: Running, work: Work, number: int) -> Sample:
        """Load `running` with `work` for its time."""
        running.settle()
        command = on_core(OTHERS_CORE, [str(self.programs / "load"), *self._words(running, work)])
        patience = work.warm + work.seconds + 30
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=True)
        return Sample(running.contender.name, work.name, number, **json.loads(done.stdout))

    def _words(self, running: Running, work: Work) -> list[str]:
        body = self.folder / f"{work.name}.json"
        body.write_bytes(work.body())
        words = {
            "--port": running.port,
            "--body": body,
            "--conns": work.conns,
            "--events": work.events,
            "--warm": work.warm,
            "--seconds": work.seconds,
            "--ramp": work.ramp,
            "--pids": ",".join(map(str, running.pids())),
            "--mock": self.upstream,
        }
        pairs = [
            *words.items(),
            *(("--header", header) for header in running.contender.headers(running.where)),
        ]
        return [str(word) for pair in pairs for word in pair]


def check_hidden_round(running: Running) -> None:
    """Raises DidNotStart where a call is not run and hidden, which would be measured as if it were."""
    status, answer = running.ask("POST", PATH, HIDDEN.body())
    if status != 200 or b"lighthouse" not in answer or b"tool_calls" in answer:
        said = answer[:200].decode(errors="replace")
        raise DidNotStart(f"{running.contender.name} does not hide a round: {status} {said}")
