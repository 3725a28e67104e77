"""Who may administrate, what `/api` tells and refuses, and the rows that changes leave."""

from pathlib import Path
from typing import Any

import pytest

from aibridge.cli.wanted import Options
from aibridge.errors import ConfigError
from tests.support.bridged import Bridged
from tests.support.keys import api, bearer, make_key
from tests.support.raw import JSON_TYPE, RawUpstream, ask, send

ADMIN = ("authorization", "Bearer the-admin")
MUTATIONS = [
    ("POST", "/keys", {"name": "k"}),
    ("DELETE", "/keys/none", None),
    ("POST", "/keys/none/rotate", {}),
]


@pytest.mark.parametrize(
    ("method", "path", "body"), [("GET", "/keys", None), ("GET", "/audit", None), *MUTATIONS]
)
def test_with_an_admin_key_only_who_brings_it_may_ask(
    strict: Bridged, method: str, path: str, body: Any
) -> None:
    key = api(strict.port, "POST", "/keys", {"name": "no admin"}, (ADMIN,)).json
    for headers in ((), (("authorization", "Bearer the-admim"),), (("x-api-key", "the"),), (bearer(key),)):
        got = api(strict.port, method, path, body, headers)
        assert (got.status, got.error["code"]) == (401, "invalid_api_key")
    for good in (ADMIN, ("x-api-key", "the-admin"), ("authorization", "bearer the-admin")):
        assert api(strict.port, method, path, body, (good,)).status in (200, 201, 404)


@pytest.mark.parametrize(
    ("name", "value"),
    [("host", "bridge.example"), ("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1")],
)
def test_without_an_admin_key_only_this_machine_may_ask(bridge: Bridged, name: str, value: str) -> None:
    headers = [JSON_TYPE] if name == "host" else [JSON_TYPE, (name, value)]
    host = value if name == "host" else ""
    got = send(bridge.port, b'{"name": "k"}', headers, path="/api/keys", host=host)
    assert (got.status, got.error["code"]) == (403, "forbidden")


def test_a_page_of_another_origin_may_not_make_keys(bridge: Bridged) -> None:
    got = api(bridge.port, "POST", "/keys", {"name": "k"}, (("origin", "https://evil.example"),))
    assert got.status == 403


def test_the_admin_key_is_no_callers_key(strict: Bridged, upstream: RawUpstream) -> None:
    assert ask(strict.port, [ADMIN]).status == 401
    assert upstream.heard == []


def test_details_of_readiness_are_for_an_admin_and_this_machine(strict: Bridged) -> None:
    def told(*headers: tuple[str, str]) -> set[str]:
        far = [("x-forwarded-for", "10.0.0.1"), *headers]
        return set(send(strict.port, method="GET", path="/readyz", headers=far).json)

    assert told() == {"status", "version"}
    assert told(("authorization", "Bearer wrong")) == {"status", "version"}
    assert "access" in told(ADMIN)
    assert "access" in send(strict.port, method="GET", path="/readyz", headers=[]).json


def test_every_change_leaves_a_row_without_secrets(bridge: Bridged) -> None:
    key = make_key(bridge.port, "audited", rpm=3, metadata={"team": "search"})
    new = api(bridge.port, "POST", "/keys/audited/rotate", {"grace": "1h"}).json
    assert api(bridge.port, "DELETE", f"/keys/{key['id'][:5]}").status == 200
    assert api(bridge.port, "DELETE", "/keys/audited").status == 200  # once more changes nothing
    rows = [row for row in api(bridge.port, "GET", "/audit").json if row["subject"] == key["id"]]
    assert [row["action"] for row in rows] == ["key.revoke", "key.rotate", "key.create"]
    assert {row["actor"] for row in rows} == {"this machine"}
    assert rows[-1]["detail"]["rpm"] == 3 and rows[-1]["detail"]["name"] == "audited"
    for text in (key["key"], new["key"]):
        assert text.rpartition("-")[2] not in str(rows)
    [older] = api(bridge.port, "GET", f"/audit?limit=1&before={rows[0]['id']}").json
    assert older["id"] == rows[1]["id"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/keys", {}, 400, "name is missing"),
        ("POST", "/keys", {"name": "k", "rpm": 0}, 400, "rpm"),
        ("POST", "/keys", {"name": "k", "budget": "lots"}, 400, "50/30d"),
        ("POST", "/keys", {"name": "nul \0"}, 400, "name"),
        ("POST", "/keys", {"name": "k", "metadata": {"a": "\x1b[2J"}}, 400, "metadata"),
        ("GET", "/audit?before=%00", None, 400, "before"),
        ("GET", "/keys/%00", None, 404, "there is no key"),
        ("POST", "/keys", {"name": "k", "color": 1}, 400, "color is unknown"),
        ("GET", "/keys/nobody", None, 404, "there is no key 'nobody'"),
        ("POST", "/keys/nobody/rotate", {}, 404, "there is no key"),
        ("POST", "/keys/ended/rotate", {}, 409, "is revoked"),
        ("GET", "/keys/twice", None, 409, "name one by its id"),
        ("GET", "/audit?limit=0", None, 400, "limit"),
    ],
)
def test_what_is_wrong_is_said(
    bridge: Bridged, method: str, path: str, body: Any, status: int, said: str
) -> None:
    if "ended" in path:
        make_key(bridge.port, "ended")
        api(bridge.port, "DELETE", "/keys/ended")
    if "twice" in path:
        make_key(bridge.port, "twice")
        make_key(bridge.port, "twice")
    got = api(bridge.port, method, path, body)
    assert got.status == status
    assert said in got.error["message"]


@pytest.mark.parametrize("keys", ["required", "optional"])
def test_listening_beyond_this_machine_needs_keys(keys: str, tmp_path: Path) -> None:
    file = tmp_path / "aibridge.yaml"
    file.write_text(f"{{upstreams: {{up: {{base_url: 'http://127.0.0.1:9/v1'}}}}, access: {{keys: {keys}}}}}")
    options = Options(file, "192.0.2.1", 0)
    if keys == "required":
        assert options.read().server.host == "192.0.2.1"
        return
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 is open to other machines"):
        options.read()


def test_with_keys_any_name_of_the_machine_is_served(strict: Bridged) -> None:
    got = send(strict.port, b"{}", [JSON_TYPE], host="bridge.example")
    assert got.status == 401
