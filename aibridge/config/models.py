"""The configuration file as a whole: its sections, and what holds between them (3-interface.md).

Bigger sections have files of their own. Secrets are `SecretStr`: they do not print, and `Config.secrets`
lists them for the log to mask.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, model_validator

from aibridge.config.access import Access
from aibridge.config.mcp_server import McpServer
from aibridge.config.records import DatabaseUrl, Records
from aibridge.config.reserved import free_word
from aibridge.config.units import Duration, Size
from aibridge.config.upstream import Upstream
from aibridge.config.values import Model, Name, switch


class Server(Model):
    """Where aibridge listens and who may reach it."""

    host: str = Field(
        "127.0.0.1",
        description="address to listen on; other than loopback needs access.keys: required or --insecure",
    )
    port: int = Field(4180, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(1, ge=1, le=64, description="processes that serve the port")
    max_body: Size = Field(32 << 20, description="largest request body of bridged routes")
    shutdown_grace: Duration = Field(30.0, description="how long running exchanges may finish on a stop")
    allowed_hosts: list[str] = Field([], description="`Host` names served beside loopback names")
    allowed_origins: list[str] = Field([], description="origins whose pages may call from a browser")


class Bridge(Model):
    """How an exchange is run."""

    inject: bool = Field(True, description="default for callers that say nothing by x-aibridge-tools")
    parallel_tool_calls: int = Field(8, ge=1, description="injected calls of a turn that run at a time")
    heartbeat: Duration = Field(10.0, description="silence after which a keep-alive comment is sent")
    tool_result_limit: int = Field(100_000, ge=1, description="characters of a tool result the model gets")
    max_rounds: int = Field(10, ge=1, description="upstream rounds with tools; then one last answers")
    max_tool_calls: int = Field(30, ge=1, description="injected calls of one exchange")
    deadline: Duration = Field(600.0, description="after it no tool runs and no round begins but the last")
    usage: Literal["auto", "sum", "last"] = Field(
        "auto", description="shown to the client: sum of rounds, last input, auto: last for known agents"
    )
    show_calls: bool = Field(False, description="show injected calls where the API has a form (responses)")
    recall: Annotated[Literal["on", "memory", "off"], BeforeValidator(switch)] = Field(
        "on",
        description="hidden turns are kept (with tool results) and put back; memory: in the process only",
    )
    recall_limit: int = Field(200_000, ge=0, description="characters put back in one request")
    turn_separator: str = Field("\n\n", description="between visible texts of two turns")


class Log(Model):
    """The log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level shown")
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal")


class Telemetry(Model):
    """What is told to operators."""

    log: Log = Field(Log(), description="the log on stderr")
    metrics: bool = Field(True, description="serve /metrics for Prometheus")
    traces: Annotated[Literal["auto", "on", "off"], BeforeValidator(switch)] = Field(
        "auto", description="OpenTelemetry; auto: where OTEL_EXPORTER_OTLP_ENDPOINT is set"
    )
    capture_content: bool = Field(False, description="prompts, tool arguments and results in traces")


class Config(Model):
    """The whole configuration file."""

    server: Server = Field(Server(), description="where aibridge listens and who may reach it")
    upstreams: dict[Annotated[Name, AfterValidator(free_word)], Upstream] = Field(
        description="the first whose `models` match serves a request"
    )
    mcp_servers: dict[Name, McpServer] = Field({}, description="servers whose tools are injected")
    bridge: Bridge = Field(Bridge(), description="how an exchange is run")
    records: Records = Field(Records(), description="where usage records go and what they hold")
    access: Access = Field(Access(), description="who may call, and how much")
    telemetry: Telemetry = Field(Telemetry(), description="what is told to operators")

    @model_validator(mode="after")
    def _keys_rest_somewhere(self) -> "Config":
        if self.access.keys == "required" and not self.records.enabled:
            raise ValueError(
                "keys rest beside records: with records.enabled: false, write access.keys: optional or off"
            )
        return self

    @model_validator(mode="after")
    def _some_upstream(self) -> "Config":
        if not self.upstreams:
            raise ValueError("`upstreams` needs at least one entry with a `base_url`")
        for name, upstream in self.upstreams.items():
            for other in upstream.fallback:
                if other == name or other not in self.upstreams:
                    known = ", ".join(each for each in self.upstreams if each != name) or "none"
                    raise ValueError(
                        f"upstreams.{name}.fallback names `{other}`; write other upstreams ({known})"
                    )
        return self

    def secrets(self) -> frozenset[str]:
        """Every secret value in the configuration, for the log to mask."""
        return frozenset(_secrets(self))


def _secrets(value: Any) -> Iterator[str]:
    match value:
        case DatabaseUrl():
            yield from value.passwords
        case SecretStr():
            yield value.get_secret_value()
        case McpServer():
            yield from value.secrets()
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(getattr(value, name))
        case dict():
            for item in value.values():
                yield from _secrets(item)
        case list():
            for item in value:
                yield from _secrets(item)
