"""openai-python as a client of the translated upstream."""

import openai

from tests.support.bridged import Bridged
from tests.support.clients import sdk

CLIENTS: dict[tuple[int, str], openai.OpenAI] = {}


def client(bridge: Bridged, key: str = "one") -> openai.OpenAI:
    """A client of the caller `key`, until the test ends."""
    if (bridge.port, key) not in CLIENTS:
        CLIENTS[bridge.port, key] = sdk(bridge.base_url, key)
    return CLIENTS[bridge.port, key]


def close_clients() -> None:
    """Leave nothing open."""
    while CLIENTS:
        CLIENTS.popitem()[1].close()
