"""What tests need of the machine: free ports, programs, and an environment with nothing in it."""

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

END_TO_END = Path(__file__).parent.parent / "end_to_end"
NODE_MODULES = END_TO_END / "node_modules"
NPM_CI = f"run `npm install --no-save` in {END_TO_END.name}/ below tests/"


def free_port() -> int:
    """A port of this machine that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def clean_env(home: Path, **extra: str) -> dict[str, str]:
    """The environment of a program that must not see the tester's own: PATH, an empty HOME and `extra`."""
    home.mkdir(parents=True, exist_ok=True)
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8", **extra}


def needs(what: str | Path, how_to_install: str) -> Path:
    """The path of a file or command; without it the test is skipped, and fails where CI is set."""
    found = _find(what)
    if found is None:
        message = f"{what} is missing: {how_to_install}"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return found


def node_program(name: str) -> Path:
    """A program of the npm packages that the end-to-end tests drive."""
    return needs(NODE_MODULES / ".bin" / name, NPM_CI)


def server_program(environment: str, name: str) -> Path:
    """An MCP server that others wrote in Python, in an environment of its own: `servers` or `sqlite`."""
    folder = END_TO_END.parents[1] / f".venv-{environment}"
    return needs(folder / "bin" / name, f"run `make .venv-{environment}/.installed`")


def python_program(name: str) -> Path:
    """A program that was installed beside this Python."""
    return needs(Path(sys.executable).parent / name, "install requirements-dev.txt")


def _find(what: str | Path) -> Path | None:
    if isinstance(what, Path):
        return what if what.exists() else None
    found = shutil.which(what)
    return Path(found) if found else None
