"""What rounds cost: our arithmetic against that of genai-prices, own prices, guesses of the provider."""

import json
import random
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider, StartDateConstraint

from aibridge.config import Price, parse
from aibridge.facts import Fact
from aibridge.nouns import Usage
from aibridge.records.entries import Encoder
from aibridge.records.folding import fold
from aibridge.records.price_list import PriceList, _rates
from aibridge.records.pricing import UNKNOWN, Cost, Prices, prices_of
from aibridge.records.store import Store
from tests.records.telling import NOON, call_ended, ended, records_in, round_ended, select, started

THEN = datetime(2026, 1, 1, 12, tzinfo=UTC)
MILLION = Usage(input=1_000_000)
OPENAI = "https://api.openai.com/v1"


def _cost(prices: Prices, model: str, upstream: str = "up", usage: Usage = MILLION) -> Cost:
    return prices.cost(model, upstream, usage, THEN)


def _models() -> Iterator[tuple[Provider, ModelInfo]]:
    for provider in get_snapshot().providers:
        for model in provider.models:
            yield provider, model


def test_it_computes_what_the_package_computes_for_every_model() -> None:
    chance = random.Random(6)
    for provider, model in _models():
        when = THEN + timedelta(hours=chance.randrange(24 * 300))
        tokens: dict[str, Any] = {
            name: chance.choice((0, 7, 1000, 150_000)) for name in ("input", "cache_read", "cache_write")
        }
        output = chance.choice((0, 13, 4000))
        usage = Usage(**tokens, output=output, reasoning=chance.choice((0, output)))
        told = genai_prices.Usage(
            input_tokens=sum(tokens.values()),
            cache_read_tokens=usage.cache_read,
            cache_write_tokens=usage.cache_write,
            output_tokens=output,
            output_reasoning_tokens=usage.reasoning,
        )
        with warnings.catch_warnings(record=True):
            dollars = model.calc_price(told, provider, genai_request_timestamp=when).total_price
        micros = int((dollars * 1_000_000).to_integral_value(ROUND_HALF_UP))
        assert _rates(model.get_prices(when)).micros(usage) == micros, (provider.id, model.id, usage)


def test_audio_and_the_longer_cache_cost_what_the_list_says() -> None:
    rates = PriceList().rates("gpt-audio", "openai", OPENAI, THEN)
    assert rates is not None
    assert rates.audio_input is not None and rates.audio_output is not None
    assert rates.audio_input.base > rates.input.base
    usage = Usage(input=100, audio_input=60, output=50, audio_output=20, reasoning=40)
    expected = 40 * rates.input.base + 60 * rates.audio_input.base
    expected += 30 * rates.output.base + 20 * rates.audio_output.base
    assert rates.micros(usage) == int(expected.to_integral_value(ROUND_HALF_UP))

    rates = PriceList().rates("claude-sonnet-4-5", None, "https://api.anthropic.com/v1", THEN)
    assert rates is not None and rates.cache_write is not None and rates.cache_write_1h is not None
    other = {"cache_creation": {"ephemeral_1h_input_tokens": 400}}
    expected = 600 * rates.cache_write.base + 400 * rates.cache_write_1h.base
    assert rates.micros(Usage(cache_write=1000, other=other)) == int(expected)


def test_reasoning_is_part_of_the_output_and_is_paid_once() -> None:
    prices = Prices({"m": Price(output=10)}, {})
    usage = Usage(output=1000, reasoning=900)
    assert _cost(prices, "m", usage=usage) == Cost(10_000, "config")
    dear = Prices({"m": Price(output=10, reasoning=20)}, {})
    assert _cost(dear, "m", usage=usage).micros == 100 * 10 + 900 * 20


def test_own_prices_come_first_and_are_exact() -> None:
    own = {"gpt-5*": Price(input=0.1, output=0.7, cache_read=0.03, cache_write=0.15)}
    prices = Prices(own, {"up": OPENAI})
    usage = Usage(input=10, cache_read=100, cache_write=20, output=30)
    assert _cost(prices, "GPT-5-mini", usage=usage) == Cost(28, "config")  # 1 + 3 + 3 + 21
    assert _cost(prices, "gpt-4o").source == "genai-prices"


def test_the_first_pattern_that_fits_counts_also_by_upstream() -> None:
    prices = Prices({"local/*": Price(), "*": Price(input=1)}, {})
    assert _cost(prices, "gpt-5", "local") == Cost(0, "config")
    assert _cost(prices, "gpt-5", "other") == Cost(1_000_000, "config")


def test_an_own_price_for_the_name_that_was_asked_wins_over_the_list() -> None:
    prices = Prices({"fast": Price(input=2)}, {"up": OPENAI})
    assert prices.cost("gpt-5", "up", MILLION, THEN, asked="fast") == Cost(2_000_000, "config")


@pytest.mark.parametrize(
    ("model", "upstream", "url", "known"),
    [
        ("gpt-5", "up", OPENAI, True),
        ("gpt-5-2025-08-07", "up", "https://gateway.example.com/v1", True),
        ("openai/gpt-5", "up", "https://gateway.example.com/v1", True),
        ("claude-sonnet-4-5", "up", None, True),
        ("gpt-5", "up", "http://127.0.0.1:4000/v1", True),
        ("mistral-small-latest", "mistral", "https://models.example.com/v1", True),
        ("mistral-small-latest", "up", "http://127.0.0.1:11434/v1", False),
        ("deepseek-r1:8b", "up", "http://vllm:8000/v1", False),
        ("gpt-oss-20b", "up", "http://192.168.1.7:8000/v1", False),
        ("gpt-none-such", "up", OPENAI, False),
        ("m-1", "up", "https://gateway.example.com/v1", False),
        ("x" * 100_000, "up", OPENAI, False),
        ("", "up", OPENAI, False),
    ],
)
def test_the_provider_is_guessed_from_url_upstream_and_model(
    model: str, upstream: str, url: str | None, known: bool
) -> None:
    cost = _cost(Prices({}, {upstream: url} if url else {}), model, upstream)
    assert cost == UNKNOWN if not known else cost.source == "genai-prices" and cost.micros > 0


def test_prices_are_those_of_the_time_of_the_exchange() -> None:
    provider, model, day = next(
        (provider, model, each.constraint.start_date)
        for provider, model in _models()
        if isinstance(model.prices, list)
        for each in model.prices
        if isinstance(each.constraint, StartDateConstraint) and each.prices != model.prices[0].prices
    )
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rates = PriceList()
    before, after = (
        rates.rates(model.id, provider.id, None, when) for when in (begins - timedelta(seconds=1), begins)
    )
    assert before is not None and after is not None
    assert before != after


def test_a_round_without_figures_has_no_price() -> None:
    assert _cost(Prices({"*": Price(input=1)}, {}), "m", usage=Usage(source="missing")) == UNKNOWN


def test_rounds_are_priced_when_they_are_folded(tmp_path: Path) -> None:
    config = parse(
        {
            "upstreams": {"openai": {"base_url": OPENAI}},
            "records": {"pricing": {"own-*": {"input": 2, "output": 8}}},
        },
        environ={},
    )
    facts: list[Fact] = [started("a")]
    for number, model in enumerate(("own-1", "gpt-5", "strange", None), 1):
        usage = Usage(input=1000, output=500)
        more = {"upstream": "openai", "asked": "gpt-5" if model is None else model, "ended_at": NOON}
        facts.append(round_ended("a", number, usage=usage, model=model, **more))
    store = Store(records_in(tmp_path).url)
    store.open()
    encode = Encoder(records_in(tmp_path))
    fold(store, [encode(fact) for fact in (*facts, ended("a"))], "worker", prices_of(config))
    store.close()
    gpt_5 = int(1000 * Decimal("1.25") + 500 * 10)
    assert select(tmp_path, "SELECT cost_micros, price_source FROM token_usages ORDER BY round") == [
        (6000, "config"),
        (gpt_5, "genai-prices"),
        (None, "unknown"),
        (gpt_5, "genai-prices"),
    ]


def test_an_entry_of_an_older_aibridge_is_folded_too(tmp_path: Path) -> None:
    store = Store(records_in(tmp_path).url)
    store.open()
    entry = json.loads(
        Encoder(records_in(tmp_path))(round_ended("a", upstream="openai", asked="gpt-5", ended_at=NOON))
    )
    for name in ("upstream", "asked", "ended_at"):
        del entry[name]
    call = json.loads(Encoder(records_in(tmp_path, arguments=False))(call_ended("a")))
    call.pop("arguments", None)  # it left out what was not to be kept
    assert fold(store, [json.dumps(each).encode() for each in (entry, call)], "worker") == 0
    store.close()
    assert select(tmp_path, "SELECT count(*) FROM token_usages") == [(1,)]
    assert select(tmp_path, "SELECT name, arguments FROM tool_calls") == [("time__now", None)]
