"""`aibridge …` as users run it, in the test's own process: a Python's start takes a second."""

import os
import subprocess
from contextlib import chdir
from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner

from aibridge.cli import main
from tests.support.environment import clean_env

Ran = subprocess.CompletedProcess[str]


def command(folder: Path, *words: str, **env: str) -> Ran:
    """What `aibridge` with `words` did in `folder`, in an environment that has nothing of the tester's.

    An exception that would have been a traceback is raised.
    """
    with chdir(folder), patch.dict(os.environ, clean_env(folder / "home", **env), clear=True):
        ran = CliRunner().invoke(main, words, prog_name="aibridge")
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return Ran(words, ran.exit_code, ran.stdout, ran.stderr)
