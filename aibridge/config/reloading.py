"""A configuration that is read anew: where it comes from, and what of it has to wait for a restart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aibridge.config.models import Config, Log

FIXED = (
    "server.host",
    "server.port",
    "server.workers",
    "records",
    "access.keys",
    "access.redis",
    "access.on_limiter_down",
    "telemetry.metrics",
    "telemetry.traces",
    "telemetry.capture_content",
)
"""Keys of what is opened once: the port, the database, the counters that processes share."""


def _nothing(*_words: object) -> None:
    """Nobody wants to hear of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from, and who hears that it was taken up."""

    read: Callable[[], Config]
    """The configuration as it is now. Raises ConfigError; blocks on the disk."""
    log: Callable[[Log, frozenset[str]], None] = _nothing
    """Sets up the log with the secrets to mask."""
    spread: Callable[[], None] = _nothing
    """Called where an operator asked this process: who started it starts others with the same."""


def keep_fixed(old: Config, new: Config) -> tuple[Config, list[str]]:
    """`new` with what needs a restart as in `old`; the keys that would have changed.

    A section that is fixed as a whole is told by the keys in it.
    """
    waiting: list[str] = []
    for dotted in FIXED:
        section, _, key = dotted.partition(".")
        was, now = getattr(old, section), getattr(new, section)
        keys = [key] if key else list(type(was).model_fields)
        changed = [each for each in keys if getattr(was, each) != getattr(now, each)]
        waiting += [f"{section}.{each}" for each in changed]
        kept: dict[str, Any] = {each: getattr(was, each) for each in changed}
        new = new.model_copy(update={section: now.model_copy(update=kept)})
    return new, waiting
