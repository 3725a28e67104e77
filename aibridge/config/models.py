"""The configuration file as models: every key, its default, its meaning (3-interface.md).

Secrets are `SecretStr`: they do not print, and `Config.secrets` lists them for the log to mask.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)

from aibridge.config.units import Duration, Size
from aibridge.masking import MASK, mask

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
Name = Annotated[str, Field(pattern=NAME)]


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write a whole URL that begins with http:// or https://")
    return value.rstrip("/")


def _switch(value: Any) -> Any:
    """YAML reads a bare `on` or `off` as a truth value."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


HttpUrl = Annotated[str, AfterValidator(_http_url)]


def _without_credential(url: str) -> str:
    if "@" in urlsplit(url).netloc:
        raise ValueError("write no user or password into a URL, which is no secret; use api_key or headers")
    return url


BaseUrl = Annotated[HttpUrl, AfterValidator(_without_credential)]


def _certificates(path: str) -> str:
    import ssl  # noqa: PLC0415 - only where it is needed

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError(f"{path} holds no certificates in PEM") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return path


CaFile = Annotated[str, AfterValidator(_certificates)]


class Model(BaseModel):
    """A part of the configuration; unknown keys are refused, values do not change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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


class Upstream(Model):
    """A model server that speaks an OpenAI-compatible API."""

    base_url: BaseUrl = Field(description="the URL up to and with /v1")
    api_key: SecretStr | list[SecretStr] | None = Field(
        None, description="sent as bearer; a list is used in turn; absent: the caller's own goes on"
    )
    models: list[str] = Field(["*"], description="patterns of the models it serves")
    aliases: dict[str, str] = Field({}, description="other names of its models: {alias: model}")
    apis: list[Literal["chat_completions", "responses", "messages"]] = Field(
        ["chat_completions", "responses", "messages"], description="the APIs that it speaks"
    )
    headers: dict[str, SecretStr] = Field({}, description="added to every request")
    connect_timeout: Duration = Field(10.0, description="until a connection is open")
    first_byte_timeout: Duration = Field(600.0, description="until the status of an answer is known")
    idle_timeout: Duration = Field(300.0, description="between two pieces of an answer")
    send_back: Literal["all", "none"] | list[str] = Field(
        "all", description="unknown fields of a turn that go back upstream: all, none, or their names"
    )
    retries: int = Field(2, ge=0, le=10, description="until the first byte of a round's answer")
    fallback: list[Name] = Field([], description="upstreams tried next, in round 1 only")
    breaker: Annotated[Duration | Literal["off"], BeforeValidator(_switch)] = Field(
        5.0, description="pause of a model that keeps failing, doubled up to a minute"
    )
    ca_file: CaFile | None = Field(None, description="certificates trusted beside the system's")
    proxy: SecretStr | None = Field(None, description="URL of an HTTP proxy")

    def api_keys(self) -> list[str]:
        """The keys of our own, none where the caller's credential goes on."""
        keys = self.api_key if isinstance(self.api_key, list) else [self.api_key]
        return [key.get_secret_value() for key in keys if key is not None]

    @field_validator("api_key", mode="before")
    @classmethod
    def _some_key(cls, keys: Any) -> Any:
        """Variables of a list that are empty leave a gap: the other keys serve."""
        if not isinstance(keys, list):
            return keys
        if not (given := [key for key in keys if key is not None]):
            raise ValueError("the list holds no key; give one, or leave `api_key` out")
        return given

    @field_validator("proxy")
    @classmethod
    def _http_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None:
            _http_url(proxy.get_secret_value())
        return proxy


FORWARDABLE = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
NOT_FORWARDABLE = frozenset({"accept", "connection", "host", "transfer-encoding"})
"""Headers that belong to one request or connection; forwarding them would break the server's."""


def _forwardable(name: str) -> str:
    lower = name.lower()
    if lower in NOT_FORWARDABLE or lower.startswith(("mcp-", "content-")):
        raise ValueError(f"the header {name} belongs to the request itself and cannot be handed on")
    return lower


HeaderName = Annotated[str, Field(pattern=FORWARDABLE), AfterValidator(_forwardable)]


class OAuth(Model):
    """OAuth client credentials, for an HTTP server that wants a token."""

    issuer: str = Field(description="the authorization server, as its metadata names it")
    client_id: str = Field(description="who aibridge is there")
    client_secret: SecretStr = Field(description="goes to the issuer only")
    scope: str | None = Field(None, description="scopes to ask for; default: what the server wants")


class McpServer(Model):
    """An MCP server, in the shape of `mcpServers` entries of other tools' JSON."""

    command: str | None = Field(None, description="program of a stdio server")
    args: list[str] = Field([], description="its arguments")
    env: dict[str, SecretStr] = Field({}, description="its environment, beside HOME, PATH and the like")
    cwd: str | None = Field(None, description="its working directory")
    url: HttpUrl | None = Field(None, description="URL of an HTTP server")
    type: Literal["stdio", "http", "streamable-http", "sse"] | None = Field(
        None, description="http (default for url), sse, or stdio (default for command)"
    )
    headers: dict[str, SecretStr] = Field({}, description="sent with every request to it")
    forward_headers: list[HeaderName] = Field(
        [], description="client headers handed on to this server, with sessions of their own"
    )
    oauth: OAuth | None = Field(None, description="client credentials for a token")
    mode: Literal["auto", "legacy"] = Field("auto", description="legacy: never probe for the 2026 protocol")
    allow: list[str] = Field(["*"], description="patterns over its own tool names")
    deny: list[str] = Field([], description="patterns left out; wins over allow")
    allow_destructive: bool = Field(True, description="false leaves out tools annotated as destructive")
    timeout: Duration = Field(60.0, description="of a call, between signs of life (progress counts)")
    timeout_total: Duration = Field(600.0, description="of a call, whatever its progress")
    on_unavailable: Literal["skip", "fail"] = Field(
        "skip", description="requests while it is away: without its tools, or refused with 503"
    )
    pin: Annotated[Literal["off", "warn", "block"], BeforeValidator(_switch)] = Field(
        "warn", description="a tool that changed since it was first seen: block leaves it out until accepted"
    )
    disabled: bool = Field(False, description="true: not connected")

    @model_validator(mode="after")
    def _one_transport(self) -> "McpServer":
        if (self.command is None) == (self.url is None):
            raise ValueError("give either `command` (stdio) or `url` (http, sse)")
        if self.type is not None and (self.type == "stdio") != (self.command is not None):
            raise ValueError(f"type `{self.type}` goes with `{'command' if self.type == 'stdio' else 'url'}`")
        if self.url is None and (self.forward_headers or self.oauth):
            raise ValueError("`forward_headers` and `oauth` go with `url`")
        return self


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
    recall: Annotated[Literal["on", "memory", "off"], BeforeValidator(_switch)] = Field(
        "on",
        description="hidden turns are kept (with tool results) and put back; memory: in the process only",
    )
    recall_limit: int = Field(200_000, ge=0, description="characters put back in one request")
    turn_separator: str = Field("\n\n", description="between visible texts of two turns")


Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
QUERY_PASSWORD = re.compile(r"(?<=[?&]password=)[^&]*")


class DatabaseUrl(SecretStr):
    """A database's URL; what it shows has no password."""

    @property
    def passwords(self) -> frozenset[str]:
        """The secrets in it: as they are written, and as they are meant."""
        url = self.get_secret_value()
        written = [urlsplit(url).password or "", *QUERY_PASSWORD.findall(url)]
        return frozenset(word for each in written if each for word in (each, unquote(each)))

    def _display(self) -> str:
        return QUERY_PASSWORD.sub(MASK, mask(self.get_secret_value()))


def _database_url(url: DatabaseUrl) -> DatabaseUrl:
    value = url.get_secret_value()
    if value.startswith("sqlite:///"):
        return url
    if not value.startswith(("postgresql://", "postgres://")) or len(urlsplit(value).path) < 2:
        raise ValueError("write a URL like sqlite:///aibridge.db or postgresql://user:password@host/database")
    return DatabaseUrl(f"postgresql://{value.partition('://')[2]}")


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"this is no regular expression of Python: {error}") from None
    return value


class Price(Model):
    """Dollars per million tokens; what is not given costs what the tokens around it cost."""

    input: Dollars = Field(0.0, description="tokens that are neither from nor into the cache")
    output: Dollars = Field(0.0, description="tokens of the answer")
    cache_read: Dollars | None = Field(None, description="input from the provider's cache; default: input")
    cache_write: Dollars | None = Field(None, description="input into the cache; default: input")
    reasoning: Dollars | None = Field(None, description="reasoning in the answer; default: output")
    audio_input: Dollars | None = Field(None, description="audio in the request; default: input")
    audio_output: Dollars | None = Field(None, description="audio in the answer; default: output")


class Records(Model):
    """Where usage records go and what they hold."""

    url: Annotated[DatabaseUrl, AfterValidator(_database_url)] = Field(
        DatabaseUrl("sqlite:///aibridge.db"), description="database: SQLite or PostgreSQL"
    )
    journal: str = Field("./aibridge-journal", description="folder of the write-ahead journal")
    prompts: bool = Field(True, description="keep prompt and reasoning texts")
    arguments: bool = Field(True, description="keep tool arguments")
    results: bool = Field(False, description="keep tool results")
    journal_limit: Size = Field(1 << 30, description="bytes of all journals in the folder, then `on_full`")
    on_full: Literal["wait", "drop"] = Field(
        "wait", description="no room for records: wait (new requests get 503) or drop (they go unrecorded)"
    )
    retention: Annotated[Duration | Literal["off"], BeforeValidator(_switch)] = Field(
        90 * 86400.0, description="rows older than that are deleted, daily; off keeps them"
    )
    redact: list[Annotated[str, AfterValidator(_pattern)]] = Field(
        [], description="patterns that are masked in kept texts, beside what looks like a credential"
    )

    pricing: dict[str, Price] = Field(
        {}, description="prices by pattern of model or upstream/model, before those of genai-prices"
    )

    @field_serializer("url", when_used="json")
    def _shown(self, url: DatabaseUrl) -> str:
        return str(url)


def _redis_url(url: SecretStr) -> SecretStr:
    value = url.get_secret_value()
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("write a URL like redis://:password@host:6379/0")
    return url


class Access(Model):
    """Who may call, and how much."""

    keys: Annotated[Literal["off", "optional", "required"], BeforeValidator(_switch)] = Field(
        "optional", description="keys of aibridge: not looked at, limiting those that have one, or needed"
    )
    admin_key: SecretStr | None = Field(None, description="for /api and details; absent: only this machine")
    redis: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None, description="URL of a Redis that several machines share for rates and concurrency"
    )
    on_limiter_down: Literal["allow", "deny"] = Field(
        "allow", description="Redis away: each process limits by itself, or 503 for callers with limits"
    )

    @field_validator("admin_key", "redis", mode="after")
    @classmethod
    def _given(cls, value: SecretStr | None) -> SecretStr | None:
        """An environment variable that is empty is none."""
        return value if value and value.get_secret_value() else None

    @field_validator("admin_key", mode="after")
    @classmethod
    def _no_caller(cls, value: SecretStr | None) -> SecretStr | None:
        if value and value.get_secret_value().startswith("sk-aib-"):
            raise ValueError("sk-aib- begins the keys of callers; write another secret")
        return value


class Log(Model):
    """The log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level shown")
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal")


class Telemetry(Model):
    """What is told to operators."""

    log: Log = Field(Log(), description="the log on stderr")
    metrics: bool = Field(True, description="serve /metrics for Prometheus")
    traces: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = Field(
        "auto", description="OpenTelemetry; auto: where OTEL_EXPORTER_OTLP_ENDPOINT is set"
    )
    capture_content: bool = Field(False, description="prompts, tool arguments and results in traces")


class Config(Model):
    """The whole configuration file."""

    server: Server = Field(Server(), description="where aibridge listens and who may reach it")
    upstreams: dict[Name, Upstream] = Field(description="the first whose `models` match serves a request")
    mcp_servers: dict[Name, McpServer] = Field({}, description="servers whose tools are injected")
    bridge: Bridge = Field(Bridge(), description="how an exchange is run")
    records: Records = Field(Records(), description="where usage records go and what they hold")
    access: Access = Field(Access(), description="who may call, and how much")
    telemetry: Telemetry = Field(Telemetry(), description="what is told to operators")

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
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(getattr(value, name))
        case dict():
            for item in value.values():
                yield from _secrets(item)
        case list():
            for item in value:
                yield from _secrets(item)
