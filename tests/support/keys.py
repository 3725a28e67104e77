"""Keys for tests: made by `/api/keys` of a running bridge, where they count at once."""

import json
from typing import Any

from tests.support.raw import JSON_TYPE, Got, send

Json = dict[str, Any]


def api(
    port: int, method: str, path: str, body: Json | None = None, headers: tuple[tuple[str, str], ...] = ()
) -> Got:
    """A request to `/api`."""
    written = b"" if body is None else json.dumps(body).encode()
    return send(port, written, [JSON_TYPE, *headers], method=method, path=f"/api{path}")


def make_key(port: int, name: str = "key", **rules: Any) -> Json:
    """A new key as /api tells it; `key` is its text."""
    got = api(port, "POST", "/keys", {"name": name, **rules})
    assert got.status == 201, got.body
    told: Json = got.json
    return told


def bearer(key: Json) -> tuple[str, str]:
    """The header that brings a key."""
    return ("authorization", f"Bearer {key['key']}")
