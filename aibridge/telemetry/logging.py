"""The log on stderr: for people on a terminal, JSON otherwise; secrets masked in whatever is written.

structlog's records and those of the standard library (uvicorn, mcp, Alembic) go the same way.
"""

import logging
import re
import sys
from collections.abc import Collection

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from aibridge.config import Log
from aibridge.masking import MASK, mask
from aibridge.tracing import served

SHORTEST_SECRET = 6
"""Characters; masking shorter ones would tear words apart."""
NOISY = ("httpx2", "httpcore2", "mcp", "alembic", "asyncio", "uvicorn.access")
"""Libraries whose `info` would tell of every request."""
BROKE_OFF = "ASGI callable returned without completing response."
"""In ASGI the only way to break off an answer, as its upstream did; uvicorn takes it for an error."""


class Masked:
    """A renderer whose text shows no secret."""

    def __init__(self, renderer: Processor, secrets: Collection[str]) -> None:
        self._renderer = renderer
        long = sorted((secret for secret in secrets if len(secret) >= SHORTEST_SECRET), key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, long))) if long else None

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> str:
        """The line, masked."""
        return self.mask(str(self._renderer(logger, name, event)))

    def mask(self, text: str) -> str:
        """`text` without configured secrets, and without what looks like a credential."""
        return mask(self._secrets.sub(MASK, text) if self._secrets else text)


def configure(settings: Log, secrets: Collection[str] = (), worker: int | None = None) -> None:
    """Set up the log of the process, which is `worker` of several."""
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _naming_exchange,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if worker is not None:
        shared.append(_naming(worker))
    # What depends on the form is left to the handler: loggers keep the processors of their first use.
    if console:
        # Plain: a traceback with local variables would show prompts and credentials.
        plain = structlog.dev.plain_traceback
        pretty = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        last: list[Processor] = [Masked(pretty, secrets)]
    else:
        last = [structlog.processors.format_exc_info, Masked(structlog.processors.JSONRenderer(), secrets)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


def _is_news(record: logging.LogRecord) -> bool:
    """False for what uvicorn says of an answer that breaks off, and was told as a failed exchange."""
    return record.msg != BROKE_OFF


def _naming_exchange(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Says in each line which exchange it is of."""
    for name, value in served().items():
        event.setdefault(name, value)
    return event


def _naming(worker: int) -> Processor:
    """What says in each line which process wrote it."""

    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("worker", worker)
        return event

    return name
