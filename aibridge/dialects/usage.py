"""Usage objects: into the records' figures, and summed over rounds for the client.

Chat completions name tokens `prompt_` and `completion_`, responses and messages `input_` and `output_`.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from aibridge.dialects.base import UsageShown
from aibridge.nouns import Usage

KNOWN = frozenset(
    {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "input_tokens",
        "output_tokens",
        "input_tokens_details",
        "output_tokens_details",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
    }
)

COUNTED = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
SAID = ("completion_tokens", "output_tokens")


def read_usage(raw: Any) -> Usage:
    """The figures of a provider's usage object; `input` without what the cache gave or took."""
    if not isinstance(raw, dict):
        return Usage(source="missing")
    asked, said = ("input", "output") if "input_tokens" in raw else ("prompt", "completion")
    prompt, completion = _details(raw, f"{asked}_tokens_details"), _details(raw, f"{said}_tokens_details")
    # DeepSeek names its cached tokens at the top level.
    read = _count(prompt.get("cached_tokens")) or _count(raw.get("prompt_cache_hit_tokens"))
    written = _count(prompt.get("cache_write_tokens"))
    return Usage(
        input=max(0, _count(raw.get(f"{asked}_tokens")) - read - written),
        cache_read=read,
        cache_write=written,
        output=_count(raw.get(f"{said}_tokens")),
        reasoning=_count(completion.get("reasoning_tokens")),
        audio_input=_count(prompt.get("audio_tokens")),
        audio_output=_count(completion.get("audio_tokens")),
        other={key: value for key, value in raw.items() if key not in KNOWN and value is not None},
    )


def shown_usage(rounds: Sequence[Mapping[str, Any]], shown: UsageShown) -> dict[str, Any]:
    """What the client is told of `rounds`: their sum, or the last round's input with all output."""
    total: dict[str, Any] = {}
    for usage in rounds:
        total = _sum(total, usage)
    if shown == "last":
        output = {key: value for key, value in total.items() if key.startswith(SAID)}
        total = {**rounds[-1], **output}
        if "total_tokens" in total:
            total["total_tokens"] = sum(_count(total.get(key)) for key in COUNTED)
    return total


def _sum(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers added, objects by key, anything else as last told."""
    total = dict(left)
    for key, value in right.items():
        known = total.get(key)
        if isinstance(value, dict):
            total[key] = _sum(known if isinstance(known, dict) else {}, value)
        elif _is_number(value) and _is_number(known):
            total[key] = known + value
        elif value is not None or key not in total:
            total[key] = value
    return total


def _is_number(value: Any) -> bool:
    return type(value) is int or (isinstance(value, float) and isfinite(value))


def _count(value: Any) -> int:
    if type(value) is int:
        return max(0, value)
    return max(0, int(value)) if _is_number(value) else 0


def _details(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = raw.get(key)
    return found if isinstance(found, dict) else {}
