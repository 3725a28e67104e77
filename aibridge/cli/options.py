"""What all commands share: the option for the configuration file, and how a command fails."""

import getpass
import os
import unicodedata
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from aibridge.config import Config, load
from aibridge.errors import ConfigError

DEFAULT = Path("aibridge.yaml")
VARIABLE = "AIBRIDGE_CONFIG"

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help=f"The configuration file; without it ./{DEFAULT}, else ${VARIABLE}.",
        show_default=False,
    ),
]


def config_path(path: Path | None) -> Path:
    """The file that `--config` names, else ./aibridge.yaml, else $AIBRIDGE_CONFIG."""
    named = os.environ.get(VARIABLE)
    if path is not None or DEFAULT.exists() or not named:
        return path or DEFAULT
    return Path(named)


def load_config(path: Path | None) -> Config:
    """The configuration; where it is wrong, says so in one sentence and ends with status 1."""
    try:
        return load(config_path(path))
    except ConfigError as error:
        fail(str(error))


def fail(sentence: str) -> NoReturn:
    """Say `sentence` on stderr and end the command with status 1."""
    warn(sentence)
    raise typer.Exit(1)


def warn(sentence: str) -> None:
    """Say `sentence` on stderr."""
    typer.echo(f"aibridge: {printable(sentence)}", err=True)


def printable(text: str) -> str:
    """`text` without control characters: what a model or client wrote must not steer the terminal."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char)[0] != "C" else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def actor() -> str:
    """Who runs the command, for the audit."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = str(os.getuid())
    return f"{user} (command line)"
