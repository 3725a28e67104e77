"""A model of the list in the form that Codex reads, tried out with Codex 0.169.

Codex asks `GET /models?client_version=…`, decodes `{"models": […]}` strictly, and takes a model that it does
not find there for an unknown one. What upstreams do not tell is set to what any model can do.
"""

from collections.abc import Mapping
from typing import Any

CONTEXT_FIELDS = ("context_window", "context_length", "max_model_len", "max_context_length")
"""Where providers (OpenAI's form, OpenRouter, vLLM, LM Studio) tell the size of a context in tokens."""
CONTEXT_WINDOW = 128_000
"""Tokens where the upstream tells nothing: Codex compacts a longer conversation before it is refused."""
INSTRUCTIONS = (
    "You are a coding agent that works in the user's workspace by the Codex command line program. Do what"
    " the user asks, to its end: look at the files that matter before you change them, make the smallest"
    " change that solves the task in the style of the code around it, and check it by the project's own"
    " tests where there are some. Use the shell tool to read, search, change and run; prefer `rg` to search."
    " Never discard changes that are not yours, and run nothing destructive unless you were asked to. When"
    " you are done, say in a few plain sentences what you changed and what is left."
)
"""Codex sends what the list says here as the model's first instructions; it has none else for the model."""


def codex_model(entry: Mapping[str, Any], place: int) -> dict[str, Any]:
    """The model of an entry of the plain list; `place` is where it stands in it."""
    told = (entry.get(name) for name in CONTEXT_FIELDS)
    window = next((size for size in told if isinstance(size, int) and size > 0), CONTEXT_WINDOW)
    name = str(entry["id"])
    description = entry.get("description")
    return {
        "slug": name,
        "display_name": name,
        "description": description if isinstance(description, str) else None,
        "default_reasoning_level": None,
        "supported_reasoning_levels": [],
        "shell_type": "default",
        "visibility": "list",
        "supported_in_api": True,
        "priority": place,
        "availability_nux": None,
        "upgrade": None,
        "base_instructions": INSTRUCTIONS,
        "supports_reasoning_summaries": False,
        "support_verbosity": False,
        "default_verbosity": None,
        "apply_patch_tool_type": None,
        "truncation_policy": {"mode": "bytes", "limit": 10_000},
        "supports_parallel_tool_calls": True,
        "context_window": window,
        "experimental_supported_tools": [],
    }
