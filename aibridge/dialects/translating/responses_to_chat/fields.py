"""What becomes of every field of a request; a test holds the table against the SDK's own parameters.

What is in none of the groups is unknown to us and passed: an upstream's own field (`top_k`) does what the
client wants, and one that it does not know it refuses by name.
"""

from collections.abc import Mapping
from typing import Any

from aibridge.dialects.translating.responses_to_chat.refusing import cannot

TRANSLATED = frozenset(
    {
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "store",
        "stream",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
    }
)
"""Said otherwise, or done by aibridge itself."""
PASSED = frozenset({"model", "temperature", "top_p"})
"""The same in both."""
HINTS = frozenset(
    {
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "user",
    }
)
"""The same in both. They say nothing about the answer: where an upstream refuses them they are left out."""
ANSWERED = frozenset({"metadata"})
"""Only told back with the answer."""
IGNORED = frozenset(
    {"background_options", "client_metadata", "context_management", "max_tool_calls", "truncation"}
)
"""Left out, and told: of the client itself; what a server does on its own when a context is full; a limit of
built-in tools, of which there are none."""
REFUSED = frozenset(
    {"access_programs", "background", "conversation", "image", "moderation", "multi_agent", "prompt"}
)
"""They need a server that keeps things or acts by itself."""
IDLE: Mapping[str, tuple[Any, ...]] = {
    "background": (False,),
    "truncation": ("disabled",),
    "context_management": ([],),
    "client_metadata": ({},),
}
"""Values that ask for nothing."""
NOT_SENT = TRANSLATED | ANSWERED | IGNORED | REFUSED


def plain_fields(value: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The fields that go on as they are, and the names of those left out.

    Raises BridgeError (400) that names a field which cannot be translated.
    """
    said = {key: each for key, each in value.items() if each is not None and each not in IDLE.get(key, ())}
    for key in REFUSED & said.keys():
        raise cannot(f"`{key}`", key)
    return {key: each for key, each in said.items() if key not in NOT_SENT}, sorted(IGNORED & said.keys())
