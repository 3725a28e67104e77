"""openai-python as a client of the translated upstream."""

import openai

from tests.support.bridged import Bridged

CLIENTS: dict[tuple[int, str], openai.OpenAI] = {}


def client(bridge: Bridged, key: str = "one") -> openai.OpenAI:
    """A client of the caller `key`, until the test ends."""
    if (bridge.port, key) not in CLIENTS:
        CLIENTS[bridge.port, key] = openai.OpenAI(base_url=f"{bridge.url}/v1", api_key=key, max_retries=0)
    return CLIENTS[bridge.port, key]


def close_clients() -> None:
    """Leave nothing open."""
    while CLIENTS:
        CLIENTS.popitem()[1].close()
