"""Becomes the program of a stdio server, after it asked the kernel to be killed when aibridge dies.

A script for `python -I -S child.py PARENT COMMAND ARGUMENT...`, not imported by anything: it loads nothing
but the standard library, and is gone as soon as the program runs. Linux only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""linux/prctl.h. The signal comes when the thread that started us ends; that is the event loop's."""
CANNOT_RUN = 127
"""The shell's status for a command that cannot be run."""


def main() -> None:
    """Never returns: the process becomes another program, or ends."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(CANNOT_RUN)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(CANNOT_RUN)


if __name__ == "__main__":
    main()
