"""A configuration that is read anew: where it comes from, and what of it has to wait for a restart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class TakenUp(NamedTuple):
    """What a reload changed, and what it did not: names of keys, no values."""

    changed: list[str]
    needs_restart: list[str]


def differences(old: Config, new: Config) -> list[str]:
    """The keys that differ: `bridge.max_rounds`, `upstreams.openai`."""
    found: list[str] = []
    for section in Config.model_fields:
        was, now = _parts(getattr(old, section)), _parts(getattr(new, section))
        names = dict.fromkeys([*was, *now])
        found += [f"{section}.{name}" for name in names if was.get(name) != now.get(name)]
    return found


def _parts(section: Any) -> dict[str, Any]:
    if isinstance(section, dict):
        return section
    return {name: getattr(section, name) for name in type(section).model_fields}


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
