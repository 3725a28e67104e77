"""Clients for plain HTTP, as users make them but without reading the system's certificates.

That would take 60 ms of the processor for each client, and a test has nothing to trust.
"""

from typing import Any

import httpx2
import openai


def http_client(**more: Any) -> httpx2.Client:
    """A client that the tester's environment does not reach."""
    return httpx2.Client(trust_env=False, verify=False, **more)


def sdk(base_url: str, key: str = "any", max_retries: int = 0) -> openai.OpenAI:
    """OpenAI's SDK."""
    plain = openai.DefaultHttpxClient(verify=False)
    return openai.OpenAI(base_url=base_url, api_key=key, max_retries=max_retries, http_client=plain)


def sdk_async(base_url: str, key: str = "any") -> openai.AsyncOpenAI:
    """The same for asyncio, without retries."""
    plain = openai.DefaultAsyncHttpxClient(verify=False)
    return openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, http_client=plain)
