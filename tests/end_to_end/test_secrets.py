"""No credential is stored or told: after exchanges of every kind, in no file, log, metric, answer or command.

Every credential has a name, and none looks like one: only care keeps them out.
"""

import base64
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from tests.support.bridge import Bridge
from tests.support.environment import clean_env
from tests.support.processes import run
from tests.support.raw import (
    JSON_TYPE,
    STREAM_HEAD,
    RawUpstream,
    Talk,
    answer_plainly,
    piece,
    raw_upstream,
    said,
    send,
    whole,
)
from tests.support.waiting import eventually
from tests.tools.sites import site

Json = dict[str, Any]
NAMES = (
    *("bearer", "x-api-key", "api-key", "cookie", "proxy", "query", "forwarded"),
    *("upstream-key", "upstream-header", "mcp-env", "mcp-url", "mcp-header", "dead-url", "error-body"),
    "admin",
)
SECRETS = {name: f"Zq7+{name.encode().hex()}/x9W=" for name in NAMES}
LEAKY = """
import os, sys
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
token = os.environ["TOKEN"]
print("starting with", token, file=sys.stderr, flush=True)
server = MCPServer("leaky", log_level="WARNING")

@server.tool()
def work() -> str:
    "Works."
    return "done"

@server.tool()
def fail() -> str:
    "Fails."
    raise ToolError(f"the service refused the token {token}")

server.run()
"""
OPENING = {"model": "own-1", "messages": [{"role": "user", "content": "hi"}], "input": "hi", "max_tokens": 9}


def _variants(secret: str) -> Iterator[bytes]:
    """The secret as it may stand somewhere: plain, in a URL, in JSON, in base64 from any byte on."""
    yield from {secret.encode(), quote(secret, safe="").encode(), quote_plus(secret).encode()}
    yield json.dumps(secret)[1:-1].replace("/", "\\/").encode()
    for shift in range(3):
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            # Characters at both ends depend on the bytes beside the secret.
            yield encode(b"\0" * shift + secret.encode())[4:-4]


def _answer(talk: Talk) -> None:
    """What the model in the request says is to happen; errors repeat every credential that came."""
    echoed = "; ".join(f"{name}: {value}" for name, value in talk.heard.headers)
    model = talk.heard.json.get("model", "") if talk.heard.body.startswith(b"{") else ""
    kind = model.partition("-")[2]
    told = {"message": f"refused: {SECRETS['error-body']} {echoed}", "type": "x", "param": None, "code": "no"}
    refusal = json.dumps({"error": told}).encode()
    if not talk.heard.body:
        talk.send(whole(b'{"object": "list", "data": []}'))
    elif kind.startswith("status"):
        talk.send(whole(refusal, f"{kind[6:]} No"))
    elif kind == "cut":
        talk.send(STREAM_HEAD, piece(said("Hel", role="assistant")))
        talk.hang_up()
    elif kind == "event":
        talk.send(STREAM_HEAD, piece(said("Hel")), piece(b"data: " + refusal + b"\n\n"), piece(b""))
    elif kind == "nonsense":
        talk.send(whole(b"<html>" + echoed.encode() + b"</html>", headers=[("content-type", "text/html")]))
    elif kind == "calls" and '"role":"tool"' not in talk.heard.body.decode().replace(" ", ""):
        _call(talk)
    else:
        answer_plainly(talk)


def _call(talk: Talk) -> None:
    calls = [
        {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": "{}"}, "index": at}
        for at, name in enumerate(("leaky__work", "leaky__fail", "house__who"))
    ]
    talk.send(STREAM_HEAD, piece(said(None, role="assistant", tool_calls=calls)))
    talk.send(piece(said(None, "tool_calls") + b"data: [DONE]\n\n"), piece(b""))


def _config(folder: Path, upstream: RawUpstream, house: str) -> Json:
    (folder / "leaky.py").write_text(LEAKY)
    query = quote(SECRETS["mcp-url"], safe="")
    dead = quote(SECRETS["dead-url"], safe="")
    own = {"api_key": SECRETS["upstream-key"], "headers": {"x-team-token": SECRETS["upstream-header"]}}
    plain = {"base_url": upstream.base_url, "retries": 0, "breaker": "off"}
    bearer = {"Authorization": f"Bearer {SECRETS['mcp-header']}"}
    return {
        "upstreams": {
            "own": {**plain, "models": ["own-*"], **own},
            "pass": plain,
        },
        "mcp_servers": {
            "leaky": {"command": sys.executable, "args": ["leaky.py"], "env": {"TOKEN": SECRETS["mcp-env"]}},
            "house": {"url": f"{house}/mcp?k={query}", "headers": bearer},
            "yours": {"url": f"{house}/mcp?k={query}", "forward_headers": ["x-user-token"]},
            "dead": {"url": f"http://127.0.0.1:9/mcp?{dead}", "headers": bearer},
        },
        "access": {"admin_key": SECRETS["admin"]},
        "bridge": {"recall": "memory"},  # a tool's result rests in the database as the model got it
        "telemetry": {"log": {"level": "debug", "format": "json"}},
    }


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    with raw_upstream(_answer) as upstream:
        yield upstream


def _headers(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    """What a careless client sends beside `pairs`."""
    return [
        JSON_TYPE,
        ("cookie", f"session={SECRETS['cookie']}"),
        ("proxy-authorization", f"Basic {SECRETS['proxy']}"),
        ("x-user-token", SECRETS["forwarded"]),
        *pairs,
    ]


BEARER = ("authorization", f"Bearer {SECRETS['bearer']}")
KINDS = ("ok", "calls", "status401", "status429", "status500", "cut", "event", "nonsense")
QUERY = f"?api_key={quote(SECRETS['query'], safe='')}"


def _exchanges(port: int, key: Json) -> set[tuple[str, int]]:
    """Exchanges of every kind: what they were, and their statuses."""
    ours = ("x-aibridge-key", key["key"])
    presented = (
        (BEARER,),
        (("x-api-key", SECRETS["x-api-key"]), ("api-key", SECRETS["api-key"])),
        (ours, BEARER),
        (("authorization", f"Bearer {key['key']}"),),
    )
    told: set[tuple[str, int]] = set()
    for at, (name, kind) in enumerate((name, kind) for kind in KINDS for name in ("own", "pass")):
        for path in ("/v1/chat/completions", "/v1/responses", "/v1/embeddings"):
            body = {**OPENING, "model": f"{name}-{kind}", "stream": path.endswith("completions")}
            headers = _headers(*presented[at % len(presented)])
            with_query = path + (QUERY if at % 2 else "")
            told.add((kind, _status(port, body, headers, with_query)))
    return told | _refusals(port) | _others(port)


def _status(port: int, body: Json, headers: list[tuple[str, str]], path: str) -> int:
    """The status; an answer that breaks off is one too."""
    try:
        return send(port, json.dumps(body).encode(), headers, path=path).status
    except (OSError, ValueError, ArithmeticError, EOFError) as error:
        raise AssertionError(f"{path} {body['model']}: {error!r}") from error
    except Exception as error:  # http.client's own: the body was cut
        assert "IncompleteRead" in repr(error)
        return 0


def _refusals(port: int) -> set[tuple[str, int]]:
    """Keys that are none, or stand where they should not."""
    bad = _headers(("authorization", f"Bearer {BAD_KEY}"))
    paths = ("/v1/chat/completions", "/v1/embeddings", "/mcp", f"/v1/responses?key={BAD_KEY}")
    found = {("refused", _status(port, OPENING, bad, path)) for path in paths}
    admin = _headers(("authorization", f"Bearer {BAD_KEY}"))
    return found | {("admin", send(port, b"{}", admin, path="/api/keys").status)}


def _others(port: int) -> set[tuple[str, int]]:
    asked = {f"/v1/files{QUERY}", "/v1/models", "/v1/tools", f"/pass/v1/files/x{QUERY}"}
    found = {(path, send(port, b"", _headers(BEARER), method="GET", path=path).status) for path in asked}
    return {(path.partition("?")[0], status) for path, status in found}


ROUTES = (
    *("/metrics", "/readyz", "/api/config", "/api/usage", "/api/usage?by=caller", "/api/keys", "/api/audit"),
    *("/api/exchanges?limit=1000", "/api/export", "/api/export?format=csv"),
)
COMMANDS = ("usage show last", "usage export", "keys audit", "config")
BAD_KEY = "sk-aib-abcdefghijkm-5f0c7d1b9e3a"


def _places(bridge: Bridge) -> Iterator[tuple[str, bytes]]:
    """Everything that is stored or told, with its name."""
    for path in bridge.folder.rglob("*"):
        if path.is_file() and path.name not in ("aibridge.yaml", "leaky.py"):
            yield str(path), path.read_bytes()
    yield "log", bridge.log.encode()
    admin = [("authorization", f"Bearer {SECRETS['admin']}")]
    ids = [row["id"] for row in bridge.rows("exchanges")]
    assert len(ids) > 90
    for route in (*ROUTES, *(f"/api/exchanges/{each}" for each in ids[-50:])):
        got = send(bridge.port, b"", admin, method="GET", path=route)
        assert got.status == 200, (route, got.body)
        yield route, got.body
    for words in COMMANDS:
        command = (sys.executable, "-m", "aibridge.cli", *words.split(), "-c", "aibridge.yaml")
        ran = run(command, bridge.folder, clean_env(bridge.folder / "home"))
        assert ran.returncode == 0, ran.stderr
        yield words, (ran.stdout + ran.stderr).encode()


def _found(places: Iterator[tuple[str, bytes]], secrets: Json) -> set[tuple[str, str]]:
    """Which secret stands where, in whatever form."""
    return {
        (name, place)
        for place, content in places
        for name, secret in secrets.items()
        for variant in _variants(secret)
        if variant in content
    }


def test_no_credential_is_stored_or_told(tmp_path: Path, upstream: RawUpstream) -> None:
    with ExitStack() as stack:
        house = stack.enter_context(site("auto"))
        url = str(house.servers["house"].url).rpartition("/")[0]
        connected = {"leaky", "house"}
        bridge = stack.enter_context(Bridge(tmp_path, _config(tmp_path, upstream, url), connected))
        key = _made(bridge)
        secrets = {**SECRETS, "key": key["key"].rpartition("-")[2], "bad key": BAD_KEY.rpartition("-")[2]}
        told = _exchanges(bridge.port, key)
        assert {("ok", 200), ("status401", 401), ("status429", 429), ("refused", 401), ("admin", 401)} <= told
        heard = "".join(str(each.headers) for each in upstream.heard)
        assert all(SECRETS[name] in heard for name in ("bearer", "upstream-key", "upstream-header"))
        assert "the service refused the token" in "".join(each.body.decode() for each in upstream.heard)
        brought = str(house.seen)
        assert all(SECRETS[name] in brought for name in ("mcp-header", "forwarded"))
        with _locked(tmp_path / "aibridge.db"):
            _exchanges(bridge.port, key)
            segments = (tmp_path / "aibridge-journal").rglob("*.journal")
            journals = {str(path): path.read_bytes() for path in segments}
            assert sum(map(len, journals.values())) > 10_000, "the database was away: it is all here"
            assert _found(iter(journals.items()), secrets) == set()
        eventually(lambda: bridge.readiness()["records"]["pending"] == 0, 20, "the folding")
        assert _found(_places(bridge), secrets) == set()


def _made(bridge: Bridge) -> Json:
    admin = ("authorization", f"Bearer {SECRETS['admin']}")
    told: Json = send(bridge.port, b'{"name": "team"}', [JSON_TYPE, admin], path="/api/keys").json
    assert told["key"].startswith("sk-aib-")
    return told


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A database that another process writes to, for as long as the block runs."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        database.execute("ROLLBACK")
        database.close()
