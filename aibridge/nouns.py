"""What several rooms speak of: tools, calls, results, usage, callers, questions to the records."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

from msgspec import Struct

CallStatus = Literal["ok", "error", "invalid_arguments", "timeout", "cancelled", "refused", "relayed"]
UsageSource = Literal["provider", "estimated", "missing"]


@dataclass(frozen=True, slots=True)
class AllBut:
    """Every field but those of `names`, which the upstream refused."""

    names: frozenset[str]


SendBack = Literal["all", "none"] | tuple[str, ...] | AllBut
"""Which fields of a turn that aibridge does not know go back upstream; a tuple names them."""


def goes_back(field: str, send_back: SendBack) -> bool:
    """Whether the unknown field `field` of a turn goes back upstream."""
    match send_back:
        case "all":
            return True
        case AllBut(names):
            return field not in names
    return send_back != "none" and field in send_back


def less(send_back: SendBack, refused: frozenset[str]) -> SendBack:
    """`send_back` without the fields that the upstream `refused`."""
    if not refused or send_back == "none":
        return send_back
    if isinstance(send_back, tuple):
        return tuple(name for name in send_back if name not in refused)
    return AllBut(refused | send_back.names if isinstance(send_back, AllBut) else refused)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of an MCP server, as it is injected into a request."""

    name: str
    """The name that the model sees: `{server}__{tool}`, made valid."""
    server: str
    own_name: str
    description: str
    input_schema: Mapping[str, Any] = field(hash=False)


MOST_TOOLS = 128
"""What upstreams take in one request (2-wire.md); the client's own come first."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the MCP servers have for one exchange."""

    tools: tuple[Tool, ...] = ()
    """Sorted by name; the same tuple until something changes."""
    unavailable: tuple[str, ...] = ()
    """Servers that would have been asked for tools, but are away and left out."""
    scope: str = ""
    """A digest of the client's headers that are handed on to servers; empty where none are."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """What an upstream refused of what aibridge adds to requests: learned once, then left out."""

    usage: bool = False
    """It refuses to be asked for usage (`stream_options`)."""
    tools: frozenset[Tool] = frozenset()
    """As they were refused: a changed definition is tried again."""
    fields: frozenset[str] = frozenset()
    """Unknown fields of a turn that went back to it."""

    def __or__(self, other: "Quirks") -> "Quirks":
        return Quirks(self.usage or other.usage, self.tools | other.tools, self.fields | other.fields)

    def words(self) -> list[str]:
        """Each in a few words, for people."""
        tools = sorted(f"tool {tool.name}" for tool in self.tools)
        return [*(["stream_options"] * self.usage), *tools, *sorted(f"field {name}" for name in self.fields)]


NO_QUIRKS = Quirks()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of one tool of one server: either `name` or `reason` is given."""

    server: str
    tool: str
    name: str | None
    """The name it is injected under."""
    reason: str | None
    """Why it is left out, as the end of "It is left out because …"."""
    tokens: int
    """Estimated tokens of its definition in a request."""
    changed: str | None = None
    """What of it is not as when it was first seen."""
    read_only: bool = False
    destructive: bool = False
    """As the server annotates it."""


@dataclass(slots=True)
class Call:
    """A tool call of a turn. `arguments` is the model's own text, valid JSON or not."""

    id: str
    name: str
    arguments: str
    injected: bool
    traceparent: str | None = None
    """The place in a trace where it runs (W3C trace context); None where nothing is traced."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the model gets for an injected call; every call gets exactly one."""

    call_id: str
    text: str
    status: CallStatus
    started_at: float
    """Unix time in seconds."""
    duration_ms: int
    error: str | None = None
    """One sentence for the record where `status` is not `ok`."""


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens of one round. `input` excludes what came from or went into the provider's cache."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    other: Mapping[str, Any] = {}
    source: UsageSource = "provider"


@dataclass(frozen=True, slots=True)
class Keep:
    """Which texts of an exchange the records keep; None leaves it to the configuration."""

    prompts: bool | None = None
    """Of users and of reasoning."""
    arguments: bool | None = None
    results: bool | None = None

    def over(self, default: "Keep") -> "Keep":
        """Itself, with `default` where it says nothing."""
        return Keep(
            default.prompts if self.prompts is None else self.prompts,
            default.arguments if self.arguments is None else self.arguments,
            default.results if self.results is None else self.results,
        )


@dataclass(frozen=True, slots=True)
class Rights:
    """What a caller's key allows. Patterns are as in shells."""

    models: tuple[str, ...] = ("*",)
    """Of names of models, as they are asked for or as the upstream knows them."""
    tools: tuple[str, ...] = ("*",)
    """Of servers, injected names, or `server__tool`."""
    inject: bool | None = None
    """Whether requests that say nothing get tools; False: none gets any. None leaves it to others."""

    def allow_model(self, *names: str) -> bool:
        """Whether one of the `names` of a model is allowed."""
        return self.any_model or any(fnmatchcase(name, pattern) for pattern in self.models for name in names)

    @property
    def any_model(self) -> bool:
        """Whether every model is allowed."""
        return "*" in self.models

    def wanted(self, wanted: str | None) -> str | None:
        """The choice of tools that a request makes, or, where it makes none, all that are allowed."""
        return ",".join(self.tools) if wanted is None and "*" not in self.tools else wanted

    def narrow(self, offer: Offer) -> Offer:
        """`offer` without the tools that are not allowed; itself where all are."""
        if "*" in self.tools:
            return offer
        allowed = tuple(tool for tool in offer.tools if self.allow_tool(tool))
        return offer if len(allowed) == len(offer.tools) else replace(offer, tools=allowed)

    def allow_tool(self, tool: Tool) -> bool:
        """Whether `tool` is allowed."""
        names = (tool.server, tool.name, f"{tool.server}__{tool.own_name}")
        return any(fnmatchcase(name, pattern) for pattern in self.tools for name in names)


ALL_RIGHTS = Rights()


class Caller(Struct, frozen=True, omit_defaults=True):
    """Who is calling, and with what program."""

    id: str
    """A key's id, an HMAC of the credential that was presented, or `anonymous`."""
    client: str | None = None
    user_agent: str | None = None
    session_id: str | None = None
    keep: Keep | None = None
    """What its key says of the texts that the records keep; None where it says nothing."""
    key_id: str | None = None
    """The id of its key, where it has one of ours."""
    rights: Rights = ALL_RIGHTS


@dataclass(frozen=True, slots=True)
class Filter:
    """Which exchanges are meant; what is None does not narrow."""

    since: datetime | None = None
    """They started then or later."""
    until: datetime | None = None
    """They started before."""
    model: str | None = None
    """As it was asked for."""
    user: str | None = None
    key: str | None = None
    client: str | None = None
    upstream: str | None = None
    caller: str | None = None
    session: str | None = None
    tool: str | None = None
    """They called it: `server/tool`, or the name of a tool of the client's."""
    server: str | None = None
    """They called a tool of this MCP server."""
    status: str | None = None
    """An exchange's status, or `error`: failed or interrupted."""


By = Literal["model", "user", "key", "client", "tool", "server", "day", "upstream", "session", "caller"]
"""What totals are grouped by."""


@dataclass(slots=True)  # not frozen: tens of thousands are made at once, and that costs half as much
class Total:
    """The figures of one group."""

    group: str | None
    """None where the exchanges say nothing."""
    exchanges: int
    errors: int
    """Exchanges that failed or were interrupted; by tool and server: calls without a good end."""
    calls: int
    input: int | None = None
    """Tokens without cache. Tokens and cost of a round are not split among its tools: None there."""
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cost_micros: int | None = None
    """Micro-dollars; None where no price is known."""
    unpriced: int | None = None
    """Rounds with tokens whose price is not known."""
    first_byte_p50: int | None = None
    """Milliseconds until the client had its first byte."""
    first_byte_p95: int | None = None
    overhead_p50: float | None = None
    """Milliseconds that were aibridge's own."""
    overhead_p95: float | None = None
    duration_p50: int | None = None
    """By tool and server: milliseconds of a call."""
    duration_p95: int | None = None
