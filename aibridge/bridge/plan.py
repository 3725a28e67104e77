"""What an exchange is made of when it opens, and its request in the words of one upstream."""

from collections.abc import Sequence

from msgspec import Struct

from aibridge.bridge.answers import Whose
from aibridge.bridge.limits import Limits
from aibridge.bridge.ports import HeaderPairs, Upstream
from aibridge.bridge.recall import Recall
from aibridge.dialects.base import Dialect, Manner, Request
from aibridge.nouns import Quirks, Tool


class Prepared(Struct, frozen=True):
    """The request of round 1 for one upstream."""

    request: Request
    plain: Request | None
    """The same without recalled turns, where some were put back."""
    recalled_turns: int


class Plan(Struct, frozen=True):
    """An exchange that has not begun."""

    dialect: Dialect
    client: Request
    """As the client sent it."""
    prepared: Prepared
    """For `upstream`."""
    target: str
    """Path and query below the upstream's base URL."""
    headers: HeaderPairs
    upstream: Upstream
    fallbacks: Sequence[Upstream]
    """Asked one after the other where `upstream` does not answer round 1."""
    tools: tuple[Tool, ...]
    recall: Recall
    whose: Whose
    manner: Manner
    limits: Limits


async def prepare(
    client: Request,
    upstream: Upstream,
    tools: Sequence[Tool],
    recall: Recall,
    whose: Whose,
    quirks: Quirks,
) -> Prepared:
    """The client's request for `upstream`: its name of the model, `tools`, hidden turns; not its `quirks`."""
    taken = [tool for tool in tools if tool not in quirks.tools] if quirks.tools else tools
    client = client.for_model(upstream.resolve(client.asked.model))
    recalled, turns = await recall.put_back(client, whose, taken, upstream.name, quirks.fields)

    def grown(request: Request) -> Request:
        request = request.with_tools(taken)
        return request.without_usage() if quirks.usage else request

    return Prepared(grown(recalled), grown(client) if turns else None, turns)
