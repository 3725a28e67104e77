"""How many files and connections a process may have open at once."""

import contextlib

MOST = 65_536
"""More than one process can serve. Some programs, when started, close all that might be open: it must end."""


def raise_limit() -> None:
    """Let the process, and workers of it, open as many as the system allows, `MOST` at most.

    A stream takes two descriptors, and the usual limit of 1024 is low only for programs that use `select`,
    which fails above it.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(ValueError, OSError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
