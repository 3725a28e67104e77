"""What an upstream takes from its configuration."""

from typing import Any

import pytest

from aibridge import config, upstreams
from aibridge.errors import ConfigError
from aibridge.nouns import SendBack


def _configured(**keys: Any) -> config.Config:
    return config.parse({"upstreams": {"one": {"base_url": "http://127.0.0.1:9/v1", **keys}}})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "all"),
        ({"send_back": "none"}, "none"),
        ({"send_back": []}, ()),
        ({"send_back": ["reasoning_content"]}, ("reasoning_content",)),
    ],
)
def test_which_unknown_fields_go_back(keys: dict[str, Any], expected: SendBack) -> None:
    router = upstreams.from_config(_configured(**keys).upstreams)
    assert router.route("any").send_back == expected


def test_another_word_than_all_or_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="send_back"):
        _configured(send_back="some")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"breaker": "soon"}, "upstreams.one.breaker: write a number with one of"),
        ({"breaker": "0s"}, "upstreams.one.breaker: Input should be greater than 0"),
        ({"api_key": {"x": 1}}, "upstreams.one.api_key: Input should be a valid string"),
        ({"retries": -1}, "upstreams.one.retries: Input should be greater than or equal to 0"),
        ({"retry": 1}, "unknown key upstreams.one.retry; did you mean `retries`?"),
    ],
)
def test_a_wrong_value_is_said_with_its_key_alone(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        _configured(**keys)
    assert says in str(error.value) and "[" not in str(error.value)


def test_a_breaker_that_yaml_reads_as_false_is_off() -> None:
    assert _configured(breaker=False).upstreams["one"].breaker == "off"
