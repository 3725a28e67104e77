"""An exchange that is passed through untouched, both ways, and recorded as such."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from functools import partial

from aibridge.bridge.events import Begin, Cut, Event, Relay
from aibridge.bridge.flowing import Flow
from aibridge.bridge.ports import Answer, HeaderPairs, Opener
from aibridge.bridge.story import Story
from aibridge.dialects.base import Asked, Turn
from aibridge.dialects.reported import Reported
from aibridge.errors import CLIENT_LEFT, BridgeError, ErrorShape, UpstreamRefused, error_headers

API = "passthrough"
"""As the records name it."""


@dataclass(frozen=True, slots=True)
class Passing:
    """One request on its way to `upstream`, with the answer on its way back."""

    dialect: ErrorShape
    """Whose error shape answers where the upstream does not."""
    upstream: Opener
    method: str
    target: str
    """Path and query below the upstream's base URL."""
    headers: HeaderPairs
    body: bytes | AsyncIterator[bytes]
    model: str | None
    """As the client asked for it."""
    known_as: str | None
    """As the upstream knows it."""
    story: Story
    renamed: tuple[str, str] | None = None
    """An id in the answer: upstream, and as the client knows it."""

    async def run(self) -> AsyncGenerator[Event]:
        """The upstream's answer, whatever its status, piece by piece."""
        story = self.story
        story.begins(Asked(self.model or "", streamed=False), self.upstream.name, ())
        story.round_begins()
        headers = story.trace.onto(self.headers, story.trace.round(1)) if story.trace else self.headers
        began = False
        sent = self.upstream.open(self.method, self.target, headers, self.body, self.known_as or "", story)
        story.watch.to("upstream")  # with the waits before it is asked again
        try:
            async with sent as answer:
                piece = await answer.read()  # until then it may be another answer
                reported = Reported(answer.media_type)
                began = True
                renamed = self.renamed if answer.media_type == "application/json" else None
                yield Begin(answer.status, answer.headers, self.upstream.name, verbatim=renamed is None)
                if renamed:
                    piece = await _with_name(piece, answer, *renamed)
                if piece:
                    take = partial(self._taken, reported)
                    story.watch.to("client")
                    yield Relay(take(piece))
                    if not answer.ended:
                        yield (flow := Flow(answer, take, story.watch))
                        flow.rest()
            self._ends(answer.status, reported)
            yield Relay(b"", last=True)
        except BridgeError as error:
            story.fails(error, error.kind.status)
            if began:
                raise Cut from error  # bytes of the upstream's own have left: nothing of ours can follow
            yield Begin(error.kind.status, error_headers(error), self.upstream.name)
            yield Relay(self.dialect.error_body(error), last=True)
        finally:
            story.ends("cancelled", CLIENT_LEFT)

    def _taken(self, reported: Reported, piece: bytes) -> bytes:
        self.story.gives_bytes(text=False)
        reported.take(piece)
        return piece

    def _ends(self, status: int, reported: Reported) -> None:
        usage, response_id, model = reported.usage()
        if usage.source != "missing":
            self.story.round_ends(Turn(usage=usage, response_id=response_id, model=model))
        if status < 400:
            self.story.ends("completed", status)
        else:
            self.story.fails(UpstreamRefused(self.upstream.name, status, (), b""), status)


async def _with_name(begun: bytes, answer: Answer, upstream: str, client: str) -> bytes:
    """The whole JSON body, with the id as the client knows it."""
    pieces = [begun]
    while piece := await answer.read():
        pieces.append(piece)
    return b"".join(pieces).replace(f'"{upstream}"'.encode(), f'"{client}"'.encode())
