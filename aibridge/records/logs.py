"""The room's log, which never raises: a full disk or a closed stderr must not cost a record or its thread."""

from contextlib import suppress
from typing import Any

import structlog

_log = structlog.get_logger("aibridge.records")


def info(event: str, **values: Any) -> None:
    """Tell what went on."""
    with suppress(Exception):
        _log.info(event, **values)


def warning(event: str, **values: Any) -> None:
    """Tell what will come right by itself."""
    with suppress(Exception):
        _log.warning(event, **values)


def error(event: str, **values: Any) -> None:
    """Tell what is lost."""
    with suppress(Exception):
        _log.error(event, **values)
