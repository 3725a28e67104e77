"""An upstream that answers by a script, one answer after the other, on real sockets."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aibridge import config, upstreams
from tests.bridge.saying import Said, Turn, events
from tests.support.bridged import Bridged, bridged, configuration
from tests.support.raw import (
    STREAM_HEAD,
    Answer,
    RawUpstream,
    Talk,
    answer_plainly,
    piece,
    raw_upstream,
    whole,
)

Step = bytes | Callable[[Talk], None]
NOW = Said("call_now", "time__now", '{"n": 1}')
CALLS = STREAM_HEAD + piece(b"".join(events(Turn("", (NOW,))))) + piece(b"")
"""A turn with one injected call."""


def script(*steps: Step) -> Callable[[Talk], None]:
    """The steps in order, the last one from then on."""

    def answer(talk: Talk) -> None:
        step = steps[min(talk.number, len(steps) - 1)]
        if callable(step):
            step(talk)
        else:
            talk.send(step)

    return answer


@contextmanager
def bridged_before(
    folder: Path, answer: Answer, tools: Mapping[str, object] | None = None, **keys: Any
) -> Iterator[tuple[Bridged, RawUpstream]]:
    """A bridge before an upstream `up` that gives `answer`; `keys` are its settings."""
    with raw_upstream(answer) as upstream:
        config = configuration(folder, upstream.base_url)
        config["upstreams"]["up"] |= keys
        with bridged(folder, config, tools) as bridge:
            yield bridge, upstream


def refusal(status: int, message: str = "no", **headers: str) -> bytes:
    """A whole error in OpenAI's shape; of header names the underscores are hyphens."""
    body = json.dumps({"error": {"message": message, "type": "t", "param": None, "code": "c"}}).encode()
    pairs = [("content-type", "application/json")]
    pairs += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return whole(body, f"{status} Said", pairs)


def hang_up(talk: Talk) -> None:
    """Close the connection without a word."""
    talk.hang_up()


def cut_before_the_first_byte(talk: Talk) -> None:
    """A head, and no body."""
    talk.send(STREAM_HEAD)
    talk.hang_up()


def empty(talk: Talk) -> None:
    """A whole answer without anything in it."""
    talk.send(STREAM_HEAD, piece(b""))


plainly = answer_plainly


def attempts_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, bool]]:
    """Of failed attempts: upstream, code, and whether it was asked again."""
    return [(row["upstream"], row["code"], row["again_in_ms"] is not None) for row in rows]


def probed(base_url: str, **settings: object) -> tuple[bool, str]:
    """What an upstream with these settings says of the server at `base_url`."""

    async def ask() -> tuple[bool, str]:
        entry = config.Upstream.model_validate({"base_url": base_url, **settings})
        router = upstreams.from_config({"up": entry})
        try:
            return await router.upstreams[0].probe()
        finally:
            await router.aclose()

    return asyncio.run(ask())
