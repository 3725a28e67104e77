"""`GET /v1/models` for Codex, which says its version, and for all others."""

import json
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.support.bridged import bridged, configuration
from tests.support.raw import send
from tests.support.serving import serving


async def _listing(request: Request) -> JSONResponse:
    assert not request.url.query, "what a client asks of us is not asked upstream"
    models = [{"id": "m-1", "object": "model", "max_model_len": 32_768}, {"id": "m-2", "object": "model"}]
    return JSONResponse({"object": "list", "data": models})


def test_codex_gets_the_models_in_its_own_form_and_others_in_openais(tmp_path: Path) -> None:
    with (
        serving(Starlette(routes=[Route("/v1/models", _listing)])) as up,
        bridged(tmp_path, configuration(tmp_path, f"http://127.0.0.1:{up.port}/v1")) as bridge,
    ):
        codex = send(bridge.port, method="GET", path="/v1/models?client_version=0.169.0")
        plain = send(bridge.port, method="GET", path="/v1/models")
    models = json.loads(codex.body)["models"]
    assert [(each["slug"], each["context_window"]) for each in models] == [("m-1", 32_768), ("m-2", 128_000)]
    assert [each["id"] for each in plain.json["data"]] == ["m-1", "m-2"]
