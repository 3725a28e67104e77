"""Tells operators of exchanges that failed, from the same facts as the records."""

import structlog

from aibridge.facts import ExchangeEnded, Fact, Listener

log = structlog.get_logger(__name__)


def log_failures(fact: Fact) -> None:
    """One line for an exchange that ended in an error."""
    if isinstance(fact, ExchangeEnded) and fact.status == "failed":
        log.warning(
            "exchange failed",
            exchange=fact.exchange_id,
            http_status=fact.http_status,
            code=fact.error_code,
            error=fact.error_message,
        )


def all_of(*listeners: Listener) -> Listener:
    """A listener that tells each fact to `listeners`, in order."""

    def tell(fact: Fact) -> None:
        for listener in listeners:
            listener(fact)

    return tell
