"""From every earlier version to the newest, with rows in all tables, in both databases."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from aibridge.records import migrations
from aibridge.records.store import Store
from tests.records.telling import Place, recording, whole


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


VERSIONS = sorted(each.revision for each in ScriptDirectory.from_config(_config()).walk_revisions())


def _value(column: Any) -> Any:
    kind = column["type"]
    if isinstance(kind, sa.Boolean):
        return True
    if isinstance(kind, sa.Integer | sa.Float | sa.Numeric):
        return 7
    if isinstance(kind, sa.DateTime):
        return datetime(2026, 1, 1, tzinfo=UTC)
    if isinstance(kind, sa.LargeBinary):
        return b"bytes"
    if isinstance(kind, sa.JSON):
        return {"a": 1}
    return "{}" if "JSON" in str(kind).upper() else "word"


def _fill(connection: sa.Connection) -> dict[str, int]:
    """One row in every table of this version that is not there yet."""
    inspected = sa.inspect(connection)
    for name in inspected.get_table_names():
        if name in ("alembic_version", "settings"):
            continue
        table = sa.Table(name, sa.MetaData(), autoload_with=connection)
        row = {column["name"]: _value(column) for column in inspected.get_columns(name)}
        connection.execute(sa.insert(table), row)
    return _counted(connection)


def _counted(connection: sa.Connection) -> dict[str, int]:
    names = [name for name in sa.inspect(connection).get_table_names() if name != "alembic_version"]
    return {name: int(connection.scalar(sa.text(f'SELECT count(*) FROM "{name}"')) or 0) for name in names}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_earlier_version_is_brought_to_the_newest_and_loses_no_row(version: str, place: Place) -> None:
    store = Store(place.config().url)
    store.database.make()
    config = _config()
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    with store.engine.begin() as connection:
        before = _fill(connection)
    store.open()
    with store.reading() as connection:
        after = _counted(connection)
        assert migrations.is_current(connection)
    store.close()
    assert {name: after[name] for name in before if name != "settings"} == {
        name: number for name, number in before.items() if name != "settings"
    }
    with recording(place.config()) as recorder:
        for fact in whole("after"):
            recorder.tell(fact)
        assert recorder.flush()
    assert place.select("SELECT status FROM exchanges WHERE id = 'after'") == [("completed",)]
