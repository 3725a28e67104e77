"""A bridge in this process before an upstream that keeps every byte."""

from collections.abc import Iterator

import pytest

from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import RawUpstream, answer_plainly, raw_upstream

MAX_BODY = 4096


@pytest.fixture(scope="package")
def shared_upstream() -> Iterator[RawUpstream]:
    with raw_upstream(answer_plainly) as upstream:
        yield upstream


@pytest.fixture
def upstream(shared_upstream: RawUpstream) -> RawUpstream:
    """An upstream that says hello unless a test changes its `answer`; it has heard nothing yet."""
    return shared_upstream.anew(answer_plainly)


@pytest.fixture(scope="package")
def shared_bridge(
    shared_upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bridged]:
    folder = tmp_path_factory.mktemp("web")
    config = configuration(
        folder,
        shared_upstream.base_url,
        server={
            "max_body": MAX_BODY,
            "allowed_hosts": ["bridge.example"],
            "allowed_origins": ["https://page.example"],
        },
    )
    config["upstreams"]["up"]["models"] = ["m-*"]
    with bridged(folder, config) as bridge:
        yield bridge


@pytest.fixture
def bridge(upstream: RawUpstream, shared_bridge: Bridged) -> Bridged:
    """A bridge without tools before the upstream; small bodies, one allowed host and one origin."""
    return shared_bridge
