"""The command line of a stdio server: what its configuration says, so started that it ends with aibridge.

A program that ignores the end of its stdin would outlive a crash of aibridge; on Linux the kernel is asked to
end it (`child.py`). Elsewhere programs see their stdin close, which well-behaved ones take for the end.
"""

import errno
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from mcp import StdioServerParameters
from mcp.client.stdio import get_default_environment

from aibridge.config import McpServer

CHILD = Path(__file__).with_name("child.py")


def program(config: McpServer) -> StdioServerParameters:
    """How to start the server. Raises FileNotFoundError, PermissionError where it cannot be."""
    environment = {key: value.get_secret_value() for key, value in config.env.items()}
    command, args = config.command or "", config.args
    if sys.platform == "linux" and sys.executable:
        _look_for(command, config.cwd, {**get_default_environment(), **environment})
        args = ["-I", "-S", str(CHILD), str(os.getpid()), command, *args]
        command = sys.executable
    return StdioServerParameters(
        command=command, args=args, env=environment, cwd=config.cwd, encoding_error_handler="replace"
    )


def _look_for(command: str, cwd: str | None, environment: Mapping[str, str]) -> None:
    """Raise what starting it would: between us and the program there is another one."""
    if cwd is not None and not Path(cwd).is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), cwd)
    if os.sep not in command:
        if shutil.which(command, path=environment.get("PATH", os.defpath)) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)
        return
    path = Path(cwd or ".") / command
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)
    if path.is_dir() or not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), command)
