"""In whose error shape a route answers, where no dialect of the bridge does."""

import re

from aibridge.dialects import ANTHROPIC, OPENAI
from aibridge.errors import ErrorShape

MESSAGES = re.compile(r"(/[^/]+)?(/v1)?/messages(/|$)")
"""Anthropic's route and those below it; OpenAI's `/v1/threads/{id}/messages` is another."""


def shape_of(path: str) -> ErrorShape:
    """The shape that clients of `path` understand."""
    return ANTHROPIC if MESSAGES.match(path) else OPENAI
