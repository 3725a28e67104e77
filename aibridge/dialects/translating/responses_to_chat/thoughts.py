"""Reasoning that the upstream wants back, as `encrypted_content`, which clients carry without reading it.

What chat upstreams give beside the text (`reasoning_content`, `reasoning_details`, signatures on calls) has
no place in the Responses API; clients that keep no answers upstream (`store: false`, Codex) bring back
`encrypted_content` unchanged. The form is ours, begins with its version, and is not secret.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any

from aibridge.wire.json_text import dumps, loads

PREFIX = "aib1."
LONGEST = 16 << 20
"""Bytes that one may unfold to: it comes from outside."""


def sealed(fields: Mapping[str, Any], calls: Mapping[str, Mapping[str, Any]]) -> str:
    """Unknown fields of a message, and of its calls by their ids."""
    told = {"fields": fields, **({"calls": calls} if calls else {})}
    return PREFIX + base64.urlsafe_b64encode(zlib.compress(dumps(told).encode())).decode()


def opened(sealed_content: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]] | None:
    """What `sealed` was given; None for what is not ours, or was changed."""
    if not isinstance(sealed_content, str) or not sealed_content.startswith(PREFIX):
        return None
    try:
        packed = base64.urlsafe_b64decode(sealed_content[len(PREFIX) :])
        unpacker = zlib.decompressobj()
        told = loads(unpacker.decompress(packed, LONGEST))
    except (ValueError, binascii.Error, zlib.error):
        return None
    fields, calls = told.get("fields"), told.get("calls", {})
    if not isinstance(fields, dict) or not isinstance(calls, dict):
        return None
    return fields, {key: value for key, value in calls.items() if isinstance(value, dict)}
