"""Commands whose stdout is for figures: the log goes to stderr, and only what is serious."""

import sys


def quiet_log() -> None:
    """Configure the log so."""
    import structlog

    quiet = structlog.make_filtering_bound_logger("error")
    structlog.configure(wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
