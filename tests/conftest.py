"""Fixtures that every room may use; the helpers behind them are in tests/support."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from tests.support.postgres import Cluster, cluster
from tests.support.serving import Model, scripted_model

_LONGEST = ("end_to_end", "tools", "records", "cli")
"""Folders with the longest files: workers begin with them, so that all are done at about the same time.

xdist itself begins with files that have many tests (`--no-loadscope-reorder` in pyproject.toml)."""

settings.register_profile("any machine", deadline=None)  # a busy one is no failure
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folders with long files first, else the order as it is."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0]
        return _LONGEST.index(folder) if folder in _LONGEST else len(_LONGEST)

    items.sort(key=place)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands that run in this process set up its log; what comes after is not to notice."""
    root, structured = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.configure(**structured)
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def shared_model() -> Iterator[Model]:
    with scripted_model() as model:
        yield model


@pytest.fixture
def model(shared_model: Model) -> Model:
    """The scripted model on a real socket, its log empty."""
    shared_model.forget()
    return shared_model


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL that all tests of this process share; who stops it starts it again."""
    with cluster() as server:
        yield server
