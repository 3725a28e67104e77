"""Keys for tests: made by `/api/keys` of a running bridge, where they count at once."""

import json
from collections import Counter
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

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


def refusals(port: int) -> Counter[str]:
    """How many requests `/metrics` says were refused, by the reason."""
    told = send(port, method="GET", path="/metrics").body.decode()
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(told):
        for sample in family.samples:
            if sample.name == "aibridge_refusals_total":
                found[sample.labels["reason"]] += int(sample.value)  # of each worker
    return found
