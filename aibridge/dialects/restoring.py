"""Results put into the order of their calls, those of hidden calls among the client's own."""

from collections.abc import Mapping, Sequence


class CannotRestore(Exception):
    """The client's conversation is not as a unit left it; it is valid by itself and stays."""


def in_call_order(
    start: int, answers: Sequence[tuple[str, str]], order: Sequence[str], hidden: Mapping[str, str]
) -> dict[int, Sequence[str]]:
    """The results at the first one's place, `start`, and none at the places after it.

    `answers`: the client's results from there on, call id and JSON text. `order`: the calls' ids. `hidden`:
    our results by call id. Raises CannotRestore where a call of the client's has no result: nothing of ours
    can mend that.
    """
    clients: dict[str, list[str]] = {}
    for call_id, text in answers:
        clients.setdefault(call_id, []).append(text)
    if any(call_id not in clients and call_id not in hidden for call_id in order):
        raise CannotRestore
    ordered: list[str] = []
    for call_id in order:
        ordered += [hidden[call_id]] if call_id in hidden else clients.pop(call_id, [])
    ordered += [text for left in clients.values() for text in left]
    return {start: ordered, **{at: [] for at in range(start + 1, start + len(answers))}}
