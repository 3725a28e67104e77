"""Upstreams that do not speak the client's dialect, asked in one that they do.

To the engine such an upstream speaks the client's dialect. What the words mean is left to
`dialects.translating`, what has to be kept between requests to `keeping`.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from msgspec import Struct

from aibridge.bridge.keeping import Keeping, Owner
from aibridge.bridge.ports import Answer, HeaderPairs, Router, Upstream
from aibridge.dialects.base import InvalidAnswer, Shown
from aibridge.dialects.translating import TRANSLATORS, Asked, Translation, Translator
from aibridge.errors import BridgeError, Kind, UpstreamRefused
from aibridge.facts import AttemptHeard
from aibridge.nouns import NO_QUIRKS, Quirks, SendBack, less
from aibridge.wire.json_text import dumps, loads

T = TypeVar("T")
REFUSES_ADDED = frozenset({400, 422})
OF_THE_BODY = frozenset({b"content-type", b"content-length", b"content-encoding"})


@dataclass(frozen=True, slots=True)
class Translations:
    """All translations that there are, and what they keep."""

    keeping: Keeping = field(default_factory=Keeping)
    translators: Sequence[Translator] = TRANSLATORS

    def router(self, inner: Router, owner: Owner) -> "TranslatingRouter":
        """The upstreams of `inner` for requests of `owner`."""
        return TranslatingRouter(inner, self, owner)


class TranslatingRouter(Struct, frozen=True):
    """Prefers an upstream that speaks the dialect itself to one that is asked in another."""

    inner: Router
    translations: Translations
    owner: Owner

    def route(self, model: str, name: str | None, api: str) -> Upstream:
        """The upstream `name`, else the first that serves `model` and speaks `api`, else by translation.

        Raises BridgeError (`model_not_found`).
        """
        try:
            return self._spoken(self.inner.route(model, name, api), api)
        except BridgeError:
            for translator in self._from(api):
                try:
                    return self._wrapped(self.inner.route(model, name, translator.target), translator)
                except BridgeError:
                    continue
            raise

    def fallbacks(self, name: str, model: str, api: str, headers: HeaderPairs) -> Sequence[Upstream]:
        """The upstreams to ask next, those that speak `api` first."""
        others = list(self.inner.fallbacks(name, model, api, headers))
        for translator in self._from(api):
            known = {other.name for other in others}
            more = self.inner.fallbacks(name, model, translator.target, headers)
            others += [self._wrapped(each, translator) for each in more if each.name not in known]
        return others

    def _spoken(self, upstream: Upstream, api: str) -> Upstream:
        """The upstream as it is asked in `api`: one that the path names may not speak it."""
        if api in upstream.apis:
            return upstream
        able = (each for each in self._from(api) if each.target in upstream.apis)
        translator = next(able, None)
        return upstream if translator is None else self._wrapped(upstream, translator)

    def _from(self, api: str) -> list[Translator]:
        return [each for each in self.translations.translators if each.source == api]

    def _wrapped(self, upstream: Upstream, translator: Translator) -> Upstream:
        return Translated(upstream, translator, self.translations.keeping, self.owner)


class Translated:
    """An upstream behind a translator."""

    def __init__(self, upstream: Upstream, translator: Translator, keeping: Keeping, owner: Owner) -> None:
        self.name, self.send_back = upstream.name, upstream.send_back
        self.apis: Collection[str] = (translator.source,)
        self._upstream, self._translator = upstream, translator
        self._keeping, self._owner = keeping, owner
        self._kept: list[str] = []
        """Ids of the answers of this exchange's rounds."""

    @property
    def quirks(self) -> Quirks:
        """What it refused so far."""
        return self._upstream.quirks

    def learn(self, quirks: Quirks) -> None:
        """Leave `quirks` out from now on."""
        self._upstream.learn(quirks)

    def resolve(self, model: str) -> str:
        """Its own name for `model`."""
        return self._upstream.resolve(model)

    def ask(
        self, target: str, headers: HeaderPairs, body: bytes, model: str, heard: AttemptHeard
    ) -> AbstractAsyncContextManager[Answer]:
        """See `bridge.ports.Upstream`; also raises BridgeError (400) for what cannot be translated."""
        return self._asked(target, headers, body, model, heard)

    @asynccontextmanager
    async def _asked(
        self, target: str, headers: HeaderPairs, body: bytes, model: str, heard: AttemptHeard
    ) -> AsyncIterator[Answer]:
        value = loads(body)
        given = await self._keeping.resolved(value.get("input"), self._owner)
        before = await self._keeping.before(value.get("previous_response_id"), self._owner)
        _, _, query = target.partition("?")
        path = f"{self._translator.path}?{query}" if query else self._translator.path
        found = NO_QUIRKS
        async with AsyncExitStack() as stack:
            while True:
                asked = self._translator.request({**value, "input": given}, before, self._sends_back(found))
                sent = dumps(_less(asked.body, self.quirks | found)).encode()
                try:
                    answer = await stack.enter_async_context(
                        self._upstream.ask(path, headers, sent, model, heard)
                    )
                    break
                except UpstreamRefused as refused:
                    more = _named_in(refused, asked, self.quirks | found)
                    if more == NO_QUIRKS:
                        raise self._told(refused) from None
                    found |= more
            if found != NO_QUIRKS:
                self.learn(found)
            yield _Answer(answer, self, asked, self._translator.answer(value, asked))

    def _sends_back(self, found: Quirks) -> SendBack:
        return less(self.send_back, (self.quirks | found).fields)

    def _told(self, refused: UpstreamRefused) -> UpstreamRefused:
        """The refusal in the client's dialect; status, `Retry-After` and the like stay."""
        body = self._translator.error_body(refused.status, refused.body, self.name)
        kept = [pair for pair in refused.headers if pair[0].lower() not in OF_THE_BODY]
        headers = [*kept, (b"content-type", b"application/json"), *self.tells(())]
        return UpstreamRefused(refused.upstream, refused.status, headers, body)

    def refused(self, refused: UpstreamRefused) -> UpstreamRefused:
        """The same for a refusal that came in the place of an answer's first piece."""
        return self._told(refused)

    def tells(self, left_out: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """Headers that say what became of the request."""
        told = [(b"x-aibridge-translated", self._translator.target.encode())]
        return [*told, (b"x-aibridge-left-out", ", ".join(left_out).encode())] if left_out else told

    def notes(self, left_out: Sequence[str]) -> Sequence[str]:
        """The same for the record."""
        told = f"translated to {self._translator.target}"
        return (told, *([f"not translated: {', '.join(left_out)}"] if left_out else []))

    async def keep_round(self, asked: Asked, translation: Translation) -> None:
        """Keep the answer of a round, before its client can come back with it."""
        if asked.keeps and translation.kept:
            await self._keeping.keep(translation.kept, asked.own_input, self._owner)
            self._kept.append(translation.kept["id"])

    async def keep(self, shown: Callable[[], Shown | None]) -> None:
        """Keep the whole answer, if its rounds were."""
        whole = shown() if self._kept else None
        if whole is not None:
            await self._keeping.keep_shown(whole, self._kept, self._owner)


class _Answer:
    """The upstream's answer, piece by piece in the client's dialect."""

    def __init__(self, inner: Answer, upstream: Translated, asked: Asked, translation: Translation) -> None:
        self._inner, self._upstream, self._asked = inner, upstream, asked
        self._translation = translation
        self._headers: list[tuple[bytes, bytes]] = []
        self.headers: HeaderPairs = self._headers
        self.notes = upstream.notes(asked.left_out)
        self._over = False
        self._take_head()

    @property
    def ended(self) -> bool:
        """True once it said all."""
        return self._over

    @property
    def media_type(self) -> str:
        """As the upstream says: streams stay streams."""
        return self._inner.media_type

    async def read(self) -> bytes:
        """The next piece in the client's dialect; empty at the end. Raises as the upstream's answer does."""
        while not self._over:
            try:
                piece = await self._inner.read()
            except UpstreamRefused as refused:
                raise self._upstream.refused(refused) from None
            self._take_head()
            shown = self._shown(piece)
            self._over = not piece or self._translation.ended
            if self._over:
                await self._upstream.keep_round(self._asked, self._translation)
            if shown:
                return shown
        return b""

    async def pour(self, take: Callable[[bytes], T | None]) -> T | None:
        """Give each piece that follows to `take`; see the port."""
        while piece := await self.read():
            if (given := take(piece)) is not None:
                return given
        return None

    def _shown(self, piece: bytes) -> bytes:
        try:
            return self._translation.take(piece) if piece else self._translation.finish()
        except InvalidAnswer as reason:
            sentence = f"upstream '{self._upstream.name}' {reason}"
            raise BridgeError(Kind.UPSTREAM_INVALID, sentence) from None

    def _take_head(self) -> None:
        """Until its first piece the answer may become another one."""
        self.status = self._inner.status
        self._headers[:] = [*self._inner.headers, *self._upstream.tells(self._asked.left_out)]


def _less(body: Mapping[str, Any], quirks: Quirks) -> Mapping[str, Any]:
    refused = quirks.fields | ({"stream_options"} if quirks.usage else frozenset())
    return {key: value for key, value in body.items() if key not in refused}


def _named_in(refused: UpstreamRefused, asked: Asked, known: Quirks) -> Quirks:
    """What of the optional fields the refusal names, and was not left out yet."""
    if refused.status not in REFUSES_ADDED:
        return NO_QUIRKS
    named = frozenset(name for name in asked.optional if name.encode() in refused.body) - known.fields
    usage = "stream_options" in named and not known.usage
    return Quirks(usage=usage, fields=named - {"stream_options"})
