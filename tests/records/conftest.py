"""Both databases for the tests that have to hold on either."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aibridge.records.store import Store
from tests.records.telling import Place, in_postgres, in_sqlite
from tests.support.stores import opened


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where records rest in this test: in a file, or in a new database of the shared server."""
    if request.param == "sqlite":
        return in_sqlite(tmp_path)
    return in_postgres(tmp_path, request.getfixturevalue("postgres").database())


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    """An open database of either kind."""
    with opened(place.config().url) as store:
        yield store
