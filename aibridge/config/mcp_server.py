"""An MCP server, in the shape that other tools' files have, with what aibridge adds to it."""

import re
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_serializer, model_validator

from aibridge.config.units import Duration
from aibridge.config.values import HttpUrl, Model, switch
from aibridge.masking import MASK

FORWARDABLE = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
NOT_FORWARDABLE = frozenset({"accept", "connection", "host", "transfer-encoding"})
"""Headers that belong to one request or connection; forwarding them would break the server's."""


ASKED = re.compile(r"([?&](?:[^=&#]*=)?)[^=&#]+")
"""A value in a URL's query: many servers take their credential there, under any name."""


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
    pin: Annotated[Literal["off", "warn", "block"], BeforeValidator(switch)] = Field(
        "warn", description="a tool that changed since it was first seen: block leaves it out until accepted"
    )
    disabled: bool = Field(False, description="true: not connected")

    def secrets(self) -> list[str]:
        """What nobody else may learn: environment, headers, and what the URL's query says."""
        oauth = [self.oauth.client_secret] if self.oauth else []
        hidden = [each.get_secret_value() for each in (*self.env.values(), *self.headers.values(), *oauth)]
        query = urlsplit(self.url or "").query
        written = [pair.partition("=")[2] for pair in query.split("&")]
        return [*hidden, *written, *(value for _, value in parse_qsl(query))]

    @field_serializer("url", when_used="json")
    def _shown(self, url: str | None) -> str | None:
        return None if url is None else ASKED.sub(rf"\1{MASK}", url)

    @model_validator(mode="after")
    def _one_transport(self) -> "McpServer":
        if (self.command is None) == (self.url is None):
            raise ValueError("give either `command` (stdio) or `url` (http, sse)")
        if self.type is not None and (self.type == "stdio") != (self.command is not None):
            raise ValueError(f"type `{self.type}` goes with `{'command' if self.type == 'stdio' else 'url'}`")
        if self.url is None and (self.forward_headers or self.oauth):
            raise ValueError("`forward_headers` and `oauth` go with `url`")
        return self
