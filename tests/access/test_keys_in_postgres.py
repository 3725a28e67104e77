"""Keys and budgets in PostgreSQL: the same, and there while it is away."""

from pathlib import Path

from tests.access.conftest import PRICES
from tests.support.bridged import bridged, configuration
from tests.support.keys import api, bearer, make_key
from tests.support.postgres import Cluster
from tests.support.raw import RawUpstream, ask
from tests.support.waiting import eventually


def test_known_keys_and_budgets_work_while_the_database_is_away(
    upstream: RawUpstream, tmp_path: Path, postgres: Cluster
) -> None:
    config = configuration(tmp_path, upstream.base_url)
    config["records"] |= {"url": postgres.database(), "pricing": PRICES}
    with bridged(tmp_path, config) as bridge:
        key = make_key(bridge.port, "team", budget="0.01/30d")
        other = make_key(bridge.port, "other")
        assert ask(bridge.port, [bearer(key)]).status == 200
        bridge.app.rooms().recorder.flush()
        assert api(bridge.port, "GET", "/keys/team").json["spent"] == 0.007
        postgres.stop()
        try:
            eventually(
                lambda: bridge.app.states()["access"]["state"] == "failing", what="the failure in /readyz"
            )
            assert ask(bridge.port, [bearer(key)]).status == 200  # 14000 of 10000
            assert ask(bridge.port, [bearer(key)]).error["code"] == "budget_exceeded"
            assert ask(bridge.port, [bearer(other)]).status == 200
            assert api(bridge.port, "GET", "/keys").status == 503
            assert api(bridge.port, "POST", "/reload").status == 200, "the log tells of it"
        finally:
            postgres.start()
        eventually(lambda: bridge.app.states()["access"]["state"] == "ok", 20, what="the database again")
        assert api(bridge.port, "DELETE", "/keys/other").status == 200
        assert ask(bridge.port, [bearer(other)]).status == 401
    with bridged(tmp_path, config) as bridge:
        assert ask(bridge.port, [bearer(key)]).error["code"] == "budget_exceeded"
        assert ask(bridge.port, [bearer(other)]).status == 401
