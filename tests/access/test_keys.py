"""Keys on every route: who is let in, who is refused, and what never leaves."""

import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from aibridge.access import secrets
from aibridge.access.key import Key
from aibridge.config import KeyRules
from tests.support.bridged import Bridged
from tests.support.keys import api, bearer, make_key
from tests.support.raw import JSON_TYPE, RawUpstream, ask, send

ROUTES = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/up/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/files"),
    ("GET", "/v1/models"),
    ("GET", "/v1/tools"),
    ("POST", "/mcp"),
]
BODY = {"model": "m-1", "messages": [{"role": "user", "content": "hi"}], "input": "hi"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _send(bridge: Bridged, method: str, path: str, *headers: tuple[str, str]) -> tuple[int, bytes]:
    body = json.dumps(BODY).encode() if method == "POST" else b""
    got = send(bridge.port, body, [JSON_TYPE, *headers], method=method, path=path)
    return got.status, got.body


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "x-aibridge-key"])
def test_a_key_is_taken_from_each_header_and_never_forwarded(
    bridge: Bridged, upstream: RawUpstream, name: str
) -> None:
    key = make_key(bridge.port, f"by {name}")
    text = f"Bearer {key['key']}" if name == "authorization" else key["key"]
    assert ask(bridge.port, [(name, text)]).status == 200
    assert not any(b"sk-aib-" in str(heard).encode() for heard in upstream.heard)
    row = bridge.ended()
    assert (row["caller"], row["key_id"]) == (key["id"], key["id"])


def test_a_caller_may_bring_a_credential_for_the_upstream_beside_the_key(
    bridge: Bridged, upstream: RawUpstream
) -> None:
    key = make_key(bridge.port)
    own = ("authorization", "Bearer sk-my-own")
    assert ask(bridge.port, [own, ("x-aibridge-key", key["key"])]).status == 200
    [heard] = upstream.heard
    assert heard.all("authorization") == ["Bearer sk-my-own"]
    assert heard.all("x-aibridge-key") == []
    assert bridge.ended()["key_id"] == key["id"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_key_every_route_is_refused_where_keys_are_required(
    strict: Bridged, upstream: RawUpstream, method: str, path: str
) -> None:
    for headers in ((), (("authorization", "Bearer sk-other"),), (("x-api-key", "sk-aib-nobody-0"),)):
        status, body = _send(strict, method, path, *headers)
        assert status == 401, (headers, body)
        error = json.loads(body)["error"]
        assert error["code"] == "invalid_api_key"
        assert "\n" not in error["message"]
    assert upstream.heard == []


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_with_a_key_every_route_is_served(strict: Bridged, method: str, path: str) -> None:
    admin = (("authorization", "Bearer the-admin"),)
    key = api(strict.port, "POST", "/keys", {"name": "all"}, admin).json
    status, body = _send(strict, method, path, bearer(key))
    assert status not in (401, 403, 429), body


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_key_that_is_not_known_is_refused_also_where_keys_are_optional(
    bridge: Bridged, upstream: RawUpstream, method: str, path: str
) -> None:
    status, _ = _send(bridge, method, path, ("x-api-key", "sk-aib-abcdefghijkl-" + "0" * 64))
    assert status == 401
    assert upstream.heard == []


def test_a_key_in_a_url_is_refused(bridge: Bridged, upstream: RawUpstream) -> None:
    key = make_key(bridge.port)
    got = send(bridge.port, method="GET", path=f"/v1/files?key={key['key']}", headers=[bearer(key)])
    assert got.status == 401
    assert upstream.heard == []


def test_a_revoked_key_ends_at_once_where_it_was_revoked(bridge: Bridged) -> None:
    key = make_key(bridge.port)
    assert ask(bridge.port, [bearer(key)]).status == 200
    assert api(bridge.port, "DELETE", f"/keys/{key['id']}").json["state"] == "revoked"
    got = ask(bridge.port, [bearer(key)])
    assert (got.status, got.error["code"]) == (401, "invalid_api_key")


def test_a_rotated_key_has_a_new_text_and_the_old_one_ends(bridge: Bridged) -> None:
    key = make_key(bridge.port)
    new = api(bridge.port, "POST", f"/keys/{key['id']}/rotate", {}).json
    assert new["id"] == key["id"]
    assert ask(bridge.port, [bearer(key)]).status == 401
    assert ask(bridge.port, [bearer(new)]).status == 200
    newer = api(bridge.port, "POST", f"/keys/{key['id']}/rotate", {"grace": "1h"}).json
    assert ask(bridge.port, [bearer(new)]).status == 200
    assert ask(bridge.port, [bearer(newer)]).status == 200


def test_expiry_and_grace_end_at_their_moment() -> None:
    old, new = secrets.mint("abc"), secrets.mint("abc")
    hour = timedelta(hours=1)
    key = Key("abc", "k", KeyRules(), new.hash, NOW, old.hash, NOW + hour, NOW + 2 * hour)
    assert key.proven_by(old.text, NOW + hour - timedelta.resolution)
    assert not key.proven_by(old.text, NOW + hour)
    assert key.proven_by(new.text, NOW + 2 * hour - timedelta.resolution)
    assert not key.proven_by(new.text, NOW + 2 * hour)
    assert key.told(NOW + 2 * hour).state == "expired"


def test_texts_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def spy(one: str, other: str) -> bool:
        compared.append((one, other))
        return hmac_compare(one, other)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", spy)
    minted = secrets.mint("abc")
    key = Key("abc", "k", KeyRules(), minted.hash, NOW)
    assert not key.proven_by(minted.text[:-1] + "x", NOW)
    assert key.proven_by(minted.text, NOW)
    assert [other for _, other in compared] == [minted.hash, minted.hash]


def test_nothing_that_is_kept_or_printed_holds_the_secret(bridge: Bridged) -> None:
    key = make_key(bridge.port, "secretive")
    secret = key["key"].rpartition("-")[2]
    assert ask(bridge.port, [bearer(key)]).status == 200
    bridge.ended()
    told = api(bridge.port, "GET", "/keys").body + api(bridge.port, "GET", "/audit").body
    assert key["id"].encode() in told
    held = told + repr(bridge.app.rooms().access.keyring.find(key["key"])).encode()
    files = [path for path in bridge.folder.rglob("*") if path.is_file()]
    held += b"".join(path.read_bytes() for path in files)
    assert secret.encode() not in held


def test_a_text_is_never_the_same(bridge: Bridged) -> None:
    assert len({make_key(bridge.port, "same")["key"] for _ in range(5)}) == 5
