"""Every route of an OpenAI-compatible API that aibridge does not serve itself, both ways untouched.

The upstream is the one that the path names, else that of the model in the JSON body or below `/models`, else
the first. Bodies are sent on as they come, however long, and so is every answer; JSON is read first, as far
as `server.max_body`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Container
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, unquote

from starlette.types import Receive, Send

from aibridge.bridge.bridge import check_model
from aibridge.bridge.passing import API, Passing
from aibridge.bridge.ports import HeaderPairs, Opener, Tracing
from aibridge.bridge.story import Story
from aibridge.config.reserved import OPENAI_ROUTES
from aibridge.errors import BridgeError, Kind
from aibridge.facts import Listener
from aibridge.nouns import Caller
from aibridge.tracing import serving
from aibridge.web.body import ClientLeft, decode, read_until
from aibridge.web.callers import Door, Lease, release
from aibridge.web.headers import Scope, header
from aibridge.web.reply import Reply, send_error
from aibridge.web.shapes import shape_of
from aibridge.web.uploads import Upload
from aibridge.wire.json_text import ObjectText, dumps

NO_IDS = frozenset({"compact", "input_tokens"})
"""What follows `/responses/` beside ids."""
PREVIOUS = "previous_response_id"
OWN = frozenset({"/models", "/tools"})
"""Routes below `/v1` that aibridge answers itself."""
MODELS = "/models/"
AS_WRITTEN = "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}"
"""What a path may hold beside letters, digits and `_.-~`, encoded already or not to be."""
BOM = b"\xef\xbb\xbf"


def written_path(scope: Scope) -> str:
    """The path as its client wrote it: `%2F` in it is no slash."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else quote(raw, AS_WRITTEN)


def passthrough_target(path: str, upstreams: Container[str]) -> tuple[str | None, str] | None:
    """The upstream that `path` names, if it does, and the path below its base URL; None for our own."""
    first, _, rest = path[1:].partition("/")
    if first in upstreams and rest:
        return first, "/" + rest.removeprefix("v1/")
    below = path.removeprefix("/v1")
    known = path.startswith("/v1/") or first in OPENAI_ROUTES
    return (None, below) if known and below.rstrip("/") not in OWN else None


class Openers(Protocol):
    """All upstreams, for requests that are passed through."""

    def opener(self, name: str | None, model: str | None, api: str | None) -> Opener:
        """The upstream `name`, else the one that serves `model` and speaks `api`, else the first.

        Raises BridgeError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Passthrough:
    """An ASGI application that hands requests on to an upstream."""

    openers: Callable[[], Openers]
    listener: Callable[[], Listener]
    tracing: Callable[[], Tracing]
    door: Door
    max_json: int
    """Bytes of a JSON body in which `model` is looked for."""
    alone: bool
    """There is one upstream."""
    leads: Callable[[str], Awaitable[str]]
    """Where the id of an answer leads upstream."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; `scope["aibridge.upstream"]` and `["aibridge.path"]` say where it goes."""
        try:
            wanted = await self._wanted(scope, receive)
            lease = await self.door.admit(wanted.caller, wanted.size)
        except ClientLeft:
            return
        except BridgeError as error:
            self.door.refused(error, scope)
            await send_error(send, error, shape_of(scope["path"]))
            return
        try:
            await self._pass(scope, wanted, lease, receive, send)
        finally:
            release(lease)

    async def _wanted(self, scope: Scope, receive: Receive) -> "_Wanted":
        """The request, and who serves it. Raises BridgeError and ClientLeft."""
        caller = self.door.identify(scope)
        _check_path(scope["aibridge.path"])
        body = await self._body(scope, receive)
        text = self._text(scope, body) if isinstance(body, bytes) else b""
        below = _below_models(scope)
        model = _model_in(text) if below is None else _named(below)
        opener = self.openers().opener(scope.get("aibridge.upstream"), model, _api(scope))
        known_as = None if model is None else opener.resolve(model)
        wanted = _Wanted(caller, body, text, model, known_as, opener, by_path=below is not None)
        _check(wanted)
        return wanted

    async def _pass(
        self, scope: Scope, wanted: "_Wanted", lease: Lease | None, receive: Receive, send: Send
    ) -> None:
        story = Story(self.listener(), wanted.caller, API, scope["path"])
        story.trace = self.tracing()(scope["headers"], story.exchange_id)
        if lease is not None:
            lease.serves(story.exchange_id)
        passing = await self._passing(scope, wanted, story)
        reply = Reply(send, passing.dialect, story.exchange_id, () if lease is None else lease.headers)
        with serving(story.exchange_id, story.trace):
            await reply.run(passing.run(), wanted.body.after if isinstance(wanted.body, Upload) else receive)

    async def _passing(self, scope: Scope, wanted: "_Wanted", story: Story) -> Passing:
        """The exchange, with what it refers to as it is upstream."""
        path, renamed = await self._led_path(wanted.path(scope["aibridge.path"]))
        headers = _unencoded(scope["headers"]) if renamed else scope["headers"]
        body: bytes | AsyncIterator[bytes]
        if isinstance(wanted.body, Upload):
            body = wanted.body.pieces()
        else:
            body = await self._led(wanted.renamed())
            if body is wanted.text:
                body = wanted.body
            else:
                headers = [pair for pair in headers if pair[0].lower() != b"content-encoding"]
        return Passing(
            dialect=shape_of(scope["path"]),
            upstream=wanted.opener,
            method=scope["method"],
            target=_target(scope, path),
            headers=headers,
            body=body,
            model=wanted.model,
            known_as=wanted.known_as,
            story=story,
            renamed=renamed,
        )

    async def _led_path(self, path: str) -> tuple[str, tuple[str, str] | None]:
        """`/responses/{id}…` as it is upstream, and the ids, there and here, where they differ."""
        begin, _, rest = path.removeprefix("/responses/").partition("/")
        if begin == path or begin in NO_IDS:
            return path, None
        target = await self.leads(begin)
        if target == begin:
            return path, None
        return f"/responses/{target}{'/' if rest else ''}{rest}", (target, begin)

    async def _led(self, body: bytes) -> bytes:
        """A JSON body that goes on from an earlier answer, as it is upstream."""
        if PREVIOUS.encode() not in body:
            return body
        try:
            text = ObjectText.read(body)
        except ValueError:
            return body
        previous = text.value.get(PREVIOUS)
        if not isinstance(previous, str) or (target := await self.leads(previous)) == previous:
            return body
        return text.replaced({PREVIOUS: dumps(target)})

    async def _body(self, scope: Scope, receive: Receive) -> bytes | Upload:
        """JSON whole, because `model` is looked for in it; anything else, and what is longer, as it comes.

        Raises BridgeError where nobody can know whom a longer one is for.
        """
        length = header(scope, b"content-length")
        if length in (None, "0") and not header(scope, b"transfer-encoding"):
            return b""
        media = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        if media != "application/json":
            return Upload(receive)
        begun, more = b"", True
        if length is None or int(length) <= self.max_json:
            begun, more = await read_until(receive, self.max_json)
        if not more and len(begun) <= self.max_json:
            return begun
        if not self._knows_whom(scope):
            sentence = f"over {self.max_json} bytes (`server.max_body`) nobody looks for `model` in a body"
            raise BridgeError(Kind.TOO_LARGE, f"{sentence}; name the upstream: /{{upstream}}{scope['path']}")
        return Upload(receive, begun, more=more)

    def _text(self, scope: Scope, body: bytes) -> bytes:
        """The JSON in a body; empty where it is in an encoding that only the upstream may know."""
        try:
            return decode(body, header(scope, b"content-encoding"), self.max_json).removeprefix(BOM)
        except BridgeError:
            if self._knows_whom(scope):
                return b""
            raise

    def _knows_whom(self, scope: Scope) -> bool:
        """Whether a request is for one upstream, whatever its model."""
        return self.alone or scope.get("aibridge.upstream") is not None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A request, and who serves it."""

    caller: Caller
    body: bytes | Upload
    text: bytes
    """The JSON in the body."""
    model: str | None
    known_as: str | None
    """The upstream's own name of the model."""
    opener: Opener
    by_path: bool
    """It is about a model, or all of them: the path says which."""

    @property
    def size(self) -> int:
        """Bytes that are known before they are sent on."""
        return len(self.body) if isinstance(self.body, bytes) else 0

    @property
    def _alias(self) -> str | None:
        """The upstream's own name, where the client says another one."""
        return None if self.known_as == self.model else self.known_as

    def renamed(self) -> bytes:
        """The JSON as the upstream knows the model."""
        if self._alias is None or self.by_path:
            return self.text
        return ObjectText.read(self.text).replaced({"model": dumps(self._alias)})

    def path(self, written: str) -> str:
        """The same of the path."""
        return MODELS + quote(self._alias, "") if self._alias is not None and self.by_path else written


def _check_path(path: str) -> None:
    """Raises BridgeError (400) for a path that leads out of what is below the upstream's `base_url`."""
    if not {".", ".."}.isdisjoint(unquote(path).replace("\\", "/").split("/")):
        raise BridgeError(Kind.BAD_REQUEST, "the path has a segment '.' or '..'; write it without")


def _check(wanted: _Wanted) -> None:
    """Raises BridgeError (403) for a model that the key may not use, or that cannot be known."""
    if wanted.model is not None:
        check_model(wanted.caller, wanted.model, wanted.known_as or wanted.model)
    elif (wanted.body or wanted.by_path) and not wanted.caller.rights.any_model:
        sentence = "this key may use some models only, and this request does not say its model in JSON"
        if wanted.by_path:
            sentence = "this key may use some models only; GET /v1/models lists those"
        raise BridgeError(Kind.MODEL_NOT_ALLOWED, sentence, "model")


def _below_models(scope: Scope) -> str | None:
    """What follows `/models/`, however it is written: servers read `//` and `%6D` as they like."""
    path = "/".join(["", *filter(None, unquote(scope["aibridge.path"]).split("/")), ""])
    return path.removeprefix(MODELS).rstrip("/") if path.startswith(MODELS) else None


def _model_in(body: bytes) -> str | None:
    try:
        model = ObjectText.read(body).value.get("model")
    except ValueError:
        return None  # whatever it is, the upstream may know
    return _named(model) if isinstance(model, str) else None


def _named(model: str) -> str | None:
    return model if model and model.isprintable() else None


def _api(scope: Scope) -> str | None:
    """The dialect that the path belongs to, where an upstream may not speak it."""
    first: str = scope["aibridge.path"][1:].partition("/")[0]
    return first if first in ("responses", "messages") else None


def _unencoded(headers: HeaderPairs) -> HeaderPairs:
    """The client's headers, for an answer that has to be read."""
    kept = [pair for pair in headers if pair[0].lower() != b"accept-encoding"]
    return [*kept, (b"accept-encoding", b"identity")]


def _target(scope: Scope, path: str) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{path}?{query}" if query else path
