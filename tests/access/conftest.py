"""Bridges that know keys, before an upstream that keeps every byte."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aibridge.demo.tools import create_server
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import RawUpstream, Talk, answer_plainly, raw_upstream, whole

MODELS = b'{"object": "list", "data": [{"id": "m-1"}, {"id": "m-2"}, {"id": "other"}]}'
PRICES = {"m-*": {"input": 1000, "output": 2000}}
"""Dollars per million tokens: a plain answer of 3 and 2 tokens costs 7000 micro-dollars."""


def answer(talk: Talk) -> None:
    """Models, else hello."""
    if talk.heard.line.startswith("GET"):
        talk.send(whole(MODELS))
    else:
        answer_plainly(talk)


@pytest.fixture(scope="package")
def shared_upstream() -> Iterator[RawUpstream]:
    with raw_upstream(answer) as upstream:
        yield upstream


@pytest.fixture
def upstream(shared_upstream: RawUpstream) -> RawUpstream:
    """It has heard nothing yet."""
    return shared_upstream.anew(answer)


def _config(upstream: RawUpstream, folder: Path, **parts: Any) -> dict[str, Any]:
    config = configuration(folder, upstream.base_url, **parts)
    config["records"]["pricing"] = PRICES
    config["upstreams"]["up"]["aliases"] = {"fast": "m-1"}
    return config


@pytest.fixture(scope="package")
def shared_bridge(
    shared_upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bridged]:
    folder = tmp_path_factory.mktemp("keys")
    config = _config(shared_upstream, folder, mcp_servers={"demo": {"command": "unused"}})
    with bridged(folder, config, {"demo": create_server()}) as bridge:
        yield bridge


@pytest.fixture
def bridge(upstream: RawUpstream, shared_bridge: Bridged) -> Bridged:
    """Keys are optional; the tools are the demo's."""
    return shared_bridge


@pytest.fixture(scope="package")
def shared_strict(
    shared_upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bridged]:
    folder = tmp_path_factory.mktemp("strict")
    access = {"keys": "required", "admin_key": "the-admin"}
    with bridged(folder, _config(shared_upstream, folder, access=access)) as bridge:
        yield bridge


@pytest.fixture
def strict(upstream: RawUpstream, shared_strict: Bridged) -> Bridged:
    """Keys are required, and /api needs an admin's."""
    return shared_strict
