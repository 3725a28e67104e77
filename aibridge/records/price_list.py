"""The prices of the package genai-prices, found by model and upstream. Offline: the data is in the package.

Whose price it is tells the upstream's URL, else its name, else the model's name. A model server on this
machine or in a private network is taken to bill only what cannot be run there.
"""

import ipaddress
import re
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from urllib.parse import urlsplit

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from aibridge.records.pricing import FREE, MODELS_REMEMBERED, NONE, Rate, Rates

LONGEST = 200
"""Characters of a model's name that is looked up."""
CLOSED = frozenset({"anthropic", "google", "openai", "x-ai"})
"""Providers whose models nobody else runs, those with open weights excepted."""
OPEN_WEIGHTS = ("gemma", "gpt-oss")
THOUSAND = 1000


class PriceList:
    """Rates by model, upstream and time."""

    def __init__(self) -> None:
        self._providers = get_snapshot().providers
        self._by_id = {provider.id: provider for provider in self._providers}
        self._model = lru_cache(MODELS_REMEMBERED)(self._find)
        self._rates: dict[int, Rates] = {}

    def rates(self, model: str, upstream: str | None, url: str | None, when: datetime) -> Rates | None:
        """What `model` costs at `upstream`, whose base URL is `url`; None where nobody knows."""
        if len(model) > LONGEST or (found := self._model(model.lower(), upstream, url)) is None:
            return None
        price = found.get_prices(when)
        key = id(price)  # the list lives as long as the process, and so do its prices
        if key not in self._rates:
            self._rates[key] = _rates(price)
        return self._rates[key]

    def _find(self, model: str, upstream: str | None, url: str | None) -> ModelInfo | None:
        named = self._by_url(url) or self._by_id.get((upstream or "").lower())
        if named is not None:
            return self._of(named, model)
        return self._guess(model, private=url is not None and _is_private(url))

    def _by_url(self, url: str | None) -> Provider | None:
        if url is None:
            return None
        return next((each for each in self._providers if re.match(each.api_pattern, url)), None)

    def _guess(self, model: str, *, private: bool) -> ModelInfo | None:
        """By the name alone; `vendor/model` names its vendor."""
        vendor, _, rest = model.rpartition("/")
        provider = self._by_id.get(vendor) or next(
            (each for each in self._providers if each.model_match and each.model_match.is_match(rest)), None
        )
        if provider is None:
            return None
        if private and (provider.id not in CLOSED or rest.startswith(OPEN_WEIGHTS)):
            return None
        return self._of(provider, rest) or self._of(provider, model)

    def _of(self, provider: Provider, model: str) -> ModelInfo | None:
        return provider.find_model(model, all_providers=self._providers)


def _rates(price: ModelPrice) -> Rates:
    return Rates(
        input=_rate(price.input_mtok) or FREE,
        output=_rate(price.output_mtok) or FREE,
        cache_read=_rate(price.cache_read_mtok),
        cache_write=_rate(price.cache_write_mtok),
        cache_write_1h=_rate(price.cache_write_1h_mtok),
        reasoning=_rate(price.output_reasoning_mtok),
        audio_input=_rate(price.input_audio_mtok),
        audio_output=_rate(price.output_audio_mtok),
        request=_per_request(price.requests_kcount),
    )


def _rate(price: Decimal | TieredPrices | None) -> Rate | None:
    if isinstance(price, TieredPrices):
        return Rate(price.base, tuple((tier.start, tier.price) for tier in price.tiers))
    return None if price is None else Rate(price)


def _per_request(price: Decimal | TieredPrices | None) -> Decimal:
    """Dollars per thousand requests as dollars per million."""
    base = price.base if isinstance(price, TieredPrices) else price
    return NONE if base is None else base * THOUSAND


def _is_private(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal", ".lan"))
    return address.is_loopback or address.is_private
