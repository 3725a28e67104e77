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
