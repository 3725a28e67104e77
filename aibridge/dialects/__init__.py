"""What a wire format means: one package a dialect, all answering the questions of `base`. Pure."""

from aibridge.dialects.anthropic_errors import AnthropicErrors
from aibridge.dialects.base import Dialect
from aibridge.dialects.chat_completions import ChatCompletions
from aibridge.dialects.responses import Responses
from aibridge.errors import ErrorShape

DIALECTS: tuple[Dialect, ...] = (ChatCompletions(), Responses())
"""Every dialect that the bridge serves."""

OPENAI: Dialect = DIALECTS[0]
"""The dialect whose error shape answers where no route says which one is spoken."""

ANTHROPIC: ErrorShape = AnthropicErrors()
"""The error shape of routes that are passed through to Anthropic's messages."""
