"""How a request that a chat upstream cannot have is refused: 400, and the name of what it was."""

from aibridge.errors import BridgeError, Kind


def cannot(what: str, param: str) -> BridgeError:
    """`what` stands in the request and cannot be translated."""
    sentence = (
        f"{what} cannot be translated for an upstream that only has chat completions;"
        " leave it out, or choose a model whose upstream speaks /v1/responses"
    )
    return BridgeError(Kind.BAD_REQUEST, sentence, param)


def wrong(what: str, param: str) -> BridgeError:
    """The request is none of the Responses API."""
    return BridgeError(Kind.BAD_REQUEST, what, param)
