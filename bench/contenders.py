"""Who is measured: the limits (direct, nginx, relay), aibridge in several set-ups, and programs of its kind.

A contender says how it is started on a port, which works it does, and why it cannot be started here.
Programs of its kind that are not installed are named and left out; README.md says how to install them.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aibridge.config import Records
from bench.interpreter import ROOT, program
from bench.works import MODELS

PEERS = ROOT / ".venv-bench"
CONFIG = Path(__file__).parent / "peers"

COMMON = ("plain1", "first1", "long1", "plain64", "burst32", "paced100", "paced500", "open1000")
EARLIER = ("earlier1", "earlier10", "earlier100", "earlier1000")
GROWING = (*EARLIER, "open10", "open100", "open2000")
TOOLS = (1, 20, 64, 128)
"""Injected tools, of which one is called in hidden rounds."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a contender runs: its folder, its port, and the port of the upstream."""

    folder: Path
    port: int
    upstream: int

    def write(self, name: str, text: str) -> str:
        """A file in the folder; gives its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True, slots=True)
class Contender:
    """A program to measure; `command` None is the upstream itself."""

    name: str
    works: tuple[str, ...]
    command: Callable[[Where], list[str]] | None = None
    ready: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Callable[[Where], list[str]] = lambda _where: []
    missing: Callable[[], str | None] = lambda: None
    """Why it cannot be started here."""
    both_cores: bool = False


def _nginx(where: Where) -> list[str]:
    text = (CONFIG / "nginx.conf").read_text()
    for name, value in (("FOLDER", where.folder), ("PORT", where.port), ("UPSTREAM", where.upstream)):
        text = text.replace(f"@{name}@", str(value))
    return ["nginx", "-e", str(where.folder / "errors"), "-c", where.write("nginx.conf", text)]


def _relay(where: Where) -> list[str]:
    return [program(), "-m", "bench.relay", str(where.port), str(where.upstream)]


def _configuration(where: Where, **records: object) -> str:
    """aibridge's own, with its defaults but for where things are, and what is said of `records`."""
    settings = {
        "server": {"port": where.port},
        "upstreams": {"mock": {"base_url": f"http://127.0.0.1:{where.upstream}/v1"}},
        "records": {
            "url": f"sqlite:///{where.folder / 'aibridge.db'}",
            "journal": str(where.folder / "journal"),
            **records,
        },
        "telemetry": {"log": {"level": "warning"}},
    }
    return where.write("aibridge.yaml", json.dumps(settings))


def _serve(*options: str, **records: object) -> Callable[[Where], list[str]]:
    return lambda where: [
        *(program(), "-m", "aibridge.cli", "serve", "--config", _configuration(where, **records)),
        *options,
    ]


def _with_tools(count: int) -> Contender:
    works = {1: ("plain1", "hidden1"), 20: ("plain1", "hidden1", "long1", *EARLIER)}

    def command(where: Where) -> list[str]:
        return [program(), "-m", "bench.bridge", _configuration(where), str(count)]

    return Contender(f"aibridge-tools-{count}", works.get(count, ("plain1",)), command, "/readyz")


def _no_switch() -> str | None:
    return None if "enabled" in Records.model_fields else "aibridge has no records.enabled"


def _litellm(where: Where) -> list[str]:
    upstream = {"api_base": f"http://127.0.0.1:{where.upstream}/v1", "api_key": "sk-bench"}
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", **upstream}} for name in MODELS
    ]
    config = where.write("litellm.yaml", json.dumps({"model_list": models}))
    program = str(PEERS / "bin" / "litellm")
    place = ["--port", str(where.port), "--host", "127.0.0.1", "--num_workers", "1"]
    return [program, "--config", config, *place]


GATEWAY = PEERS / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def _portkey(where: Where) -> list[str]:
    return ["node", str(GATEWAY), f"--port={where.port}", "--headless"]


def _portkey_headers(where: Where) -> list[str]:
    custom = f"x-portkey-custom-host: http://127.0.0.1:{where.upstream}/v1"
    return ["x-portkey-provider: openai", custom]


def _mcp_bridge(where: Where) -> list[str]:
    settings = {
        "inference_server": {"base_url": f"http://127.0.0.1:{where.upstream}/v1", "api_key": "sk-bench"},
        "mcp_servers": {},
        "network": {"host": "127.0.0.1", "port": where.port},
        "logging": {"log_level": "ERROR"},
    }
    where.write("config.json", json.dumps(settings))
    return [str(PEERS / "mcp-bridge" / "bin" / "python"), "-m", "mcp_bridge.main"]


def _absent(path: Path) -> Callable[[], str | None]:
    return lambda: None if path.exists() else "not installed"


def _no_mcp_bridge() -> str | None:
    if any(PEERS.glob("mcp-bridge/lib/python*/site-packages/mcp_bridge")):
        return None
    return "not installed; its requirement lmos-openai-types is in no package registry"


ALL = (
    Contender("direct", COMMON),
    Contender(
        "nginx",
        COMMON,
        _nginx,
        "/health",
        missing=lambda: None if shutil.which("nginx") else "not installed: apt-get install nginx-light",
    ),
    Contender("relay", COMMON, _relay),
    Contender("aibridge", COMMON + GROWING, _serve(), "/readyz"),
    Contender(
        "aibridge-no-records",
        ("plain1", "first1", "plain64", "burst32", "paced100"),
        _serve(enabled=False),
        "/readyz",
        missing=_no_switch,
    ),
    *(_with_tools(count) for count in TOOLS),
    Contender("aibridge-1-worker", ("plain64",), _serve(), "/readyz", both_cores=True),
    Contender("aibridge-2-workers", ("plain64",), _serve("--workers", "2"), "/readyz", both_cores=True),
    Contender(
        "litellm",
        ("plain1", "first1", "long1", "plain64", "burst32", "paced100"),
        _litellm,
        "/health/liveliness",
        {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
        | {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true", "NO_PROXY": "*"}
        | {"REPEATED_STREAMING_CHUNK_LIMIT": "1000000"},
        missing=_absent(PEERS / "bin" / "litellm"),
    ),
    Contender(
        # 1.15.2 answers streams with 500: it appends to headers that node 20's fetch made immutable.
        "portkey",
        ("plain1", "long1", "plain64"),
        _portkey,
        environment={"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
        headers=_portkey_headers,
        missing=_absent(GATEWAY),
    ),
    Contender(
        "mcp-bridge",
        ("plain1", "first1", "plain64", "burst32"),
        _mcp_bridge,
        "/health",
        {"MCP_BRIDGE__CONFIG__FILE": "config.json"},
        missing=_no_mcp_bridge,
    ),
)
QUICK = ("direct", "nginx", "relay", "aibridge", "aibridge-tools-1", "aibridge-tools-20")
