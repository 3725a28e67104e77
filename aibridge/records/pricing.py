"""What the tokens of a round cost, in micro-dollars, and where the price is from.

The configuration's own prices come first, then the list of the package genai-prices (`price_list`). Dollars
per million tokens are micro-dollars per token. An unknown model costs nothing and says so.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from aibridge.config import Config, Price
from aibridge.nouns import Usage

if TYPE_CHECKING:
    from aibridge.records.price_list import PriceList

PriceSource = Literal["config", "genai-prices", "unknown"]
MODELS_REMEMBERED = 4096
"""Clients may ask for any name; what was found for the last ones is kept."""
MINUTES_REMEMBERED = 64
NONE = Decimal(0)


class Cost(NamedTuple):
    """What a round cost."""

    micros: int
    """Micro-dollars; 0 where no price is known."""
    source: PriceSource


UNKNOWN = Cost(0, "unknown")


@dataclass(frozen=True, slots=True)
class Rate:
    """Dollars per million tokens; from a number of input tokens on, all of them cost another price."""

    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()
    """Input tokens above which the price is another, ascending."""

    def at(self, input_tokens: int) -> Decimal:
        """The price for a request of that many input tokens."""
        return next((price for start, price in reversed(self.tiers) if input_tokens > start), self.base)


FREE = Rate(NONE)


@dataclass(frozen=True, slots=True)
class Rates:
    """The prices of a model; what has none of its own costs what the tokens around it cost."""

    input: Rate = FREE
    output: Rate = FREE
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    cache_write_1h: Rate | None = None
    reasoning: Rate | None = None
    audio_input: Rate | None = None
    audio_output: Rate | None = None
    request: Decimal = NONE
    """Dollars for a million requests."""

    def micros(self, usage: Usage) -> int:
        """What `usage` costs, rounded to whole micro-dollars."""
        total = usage.input + usage.cache_read + usage.cache_write
        hour = min(_written_for_an_hour(usage), usage.cache_write)
        heard = min(usage.audio_input, usage.input)
        said = min(usage.audio_output, usage.output)
        thought = min(usage.reasoning, usage.output - said)
        write = self.cache_write or self.input
        parts = (
            (usage.input - heard, self.input),
            (heard, self.audio_input or self.input),
            (usage.cache_read, self.cache_read or self.input),
            (usage.cache_write - hour, write),
            (hour, self.cache_write_1h or write),
            (usage.output - said - thought, self.output),
            (said, self.audio_output or self.output),
            (thought, self.reasoning or self.output),
        )
        cost = sum((count * rate.at(total) for count, rate in parts if count), self.request)
        return int(cost.to_integral_value(ROUND_HALF_UP))


def minute_of(seconds: float) -> datetime:
    """When prices are asked for, of a Unix time: the minute, the same object for all of its rounds."""
    return _minute(seconds // 60)


@lru_cache(MINUTES_REMEMBERED)
def _minute(number: float) -> datetime:
    return datetime.fromtimestamp(number * 60, UTC)


def _written_for_an_hour(usage: Usage) -> int:
    """Anthropic's part of the cache writes that rests for an hour, and costs more."""
    told = usage.other.get("cache_creation")
    hour = told.get("ephemeral_1h_input_tokens") if isinstance(told, Mapping) else None
    return hour if isinstance(hour, int) and hour > 0 else 0


class Prices:
    """Prices by model and upstream. The list is loaded with the first question that needs it, or ahead."""

    def __init__(self, own: Mapping[str, Price], urls: Mapping[str, str]) -> None:
        """`own`: prices by pattern of `model` or `upstream/model`; `urls`: each upstream's base URL."""
        self._own = [(pattern.lower(), _rates(price)) for pattern, price in own.items()]
        self._urls = urls
        self._own_rates = lru_cache(MODELS_REMEMBERED)(self._find_own)
        self._rates = lru_cache(MODELS_REMEMBERED)(self._find)  # the same ones within a minute

    def cost(
        self, model: str | None, upstream: str | None, usage: Usage, when: datetime, asked: str | None = None
    ) -> Cost:
        """What `usage` of `model` cost at `when`.

        `asked` is the name that the upstream was asked for, where the answer names another.
        """
        if usage.source == "missing":
            return UNKNOWN
        minute = when.replace(second=0, microsecond=0) if when.second or when.microsecond else when
        rates, source = self._rates(model, asked, upstream, minute)
        return UNKNOWN if rates is None else Cost(rates.micros(usage), source)

    def _find(
        self, model: str | None, asked: str | None, upstream: str | None, minute: datetime
    ) -> tuple[Rates | None, PriceSource]:
        names = [name for name in dict.fromkeys((model, asked)) if name]
        for name in names:
            if own := self._own_rates(name, upstream):
                return own, "config"
        for name in names:
            if listed := self._list.rates(name, upstream, self._urls.get(upstream or ""), minute):
                return listed, "genai-prices"
        return None, "unknown"

    def load_ahead(self) -> None:
        """Load the list beside what else happens, so that no request waits for it; returns at once."""
        threading.Thread(target=self._load, name="aibridge-prices", daemon=True).start()

    def _load(self) -> None:
        """The list, and whose prices each upstream has: the first look for these costs 15 ms."""
        prices = self._list
        for name, url in self._urls.items():
            prices.rates("", name, url, minute_of(time.time()))

    @cached_property
    def _list(self) -> "PriceList":
        from aibridge.records.price_list import PriceList  # noqa: PLC0415 - its data costs 0.5 s and 13 MB

        return PriceList()

    def _find_own(self, model: str, upstream: str | None) -> Rates | None:
        names = (model.lower(), f"{upstream}/{model}".lower())
        matching = (
            rates for pattern, rates in self._own if any(fnmatchcase(name, pattern) for name in names)
        )
        return next(matching, None)


def prices_of(config: Config) -> Prices:
    """The prices that `config` wants."""
    urls = {name: upstream.base_url for name, upstream in config.upstreams.items()}
    return Prices(config.records.pricing, urls)


NO_PRICES = Prices({}, {})
"""The list alone, for who knows no configuration."""


def _rates(price: Price) -> Rates:
    def rate(value: float | None) -> Rate | None:
        return None if value is None else Rate(Decimal(str(value)))  # as it was written

    return Rates(
        input=rate(price.input) or FREE,
        output=rate(price.output) or FREE,
        cache_read=rate(price.cache_read),
        cache_write=rate(price.cache_write),
        reasoning=rate(price.reasoning),
        audio_input=rate(price.audio_input),
        audio_output=rate(price.audio_output),
    )
