"""Contents of items as contents of messages: text, images, files, audio."""

from collections.abc import Mapping
from typing import Any

from aibridge.dialects.translating.responses_to_chat.refusing import cannot, wrong

TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
Part = dict[str, Any]


def content(value: Any, param: str) -> str | list[Part]:
    """A user's content; texts alone are one text, because not every server takes parts.

    Raises BridgeError (400) that names a part which cannot be translated.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise wrong("the `content` of an item has to be a string or a list of parts", param)
    parts = [_part(part, param) for part in value]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def text(value: Any, param: str) -> str:
    """Content of which only the text counts: of a system message, or of the assistant."""
    if isinstance(value, str | None):
        return value or ""
    if not isinstance(value, list):
        raise wrong("the `content` of an item has to be a string or a list of parts", param)
    return "".join(_text(part, param) for part in value)


def _text(part: Any, param: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    found = part.get("refusal") if kind == "refusal" else part.get("text") if kind in TEXTS else None
    if not isinstance(found, str):
        raise cannot(f"a part `{kind}` in such an item", param)
    return found


def split(value: Any, param: str) -> tuple[str, list[Part]]:
    """A tool's output: its text, and the parts that a tool message cannot hold."""
    found = content(value, param)
    if isinstance(found, str):
        return found, []
    texts = [part["text"] for part in found if part["type"] == "text"]
    return "\n".join(texts), [part for part in found if part["type"] != "text"]


def _part(part: Any, param: str) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in TEXTS:
        return {"type": "text", "text": _text(part, param)}
    if kind == "input_image" and part.get("image_url"):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    if kind == "input_file" and (part.get("file_data") or part.get("file_id")):
        return {"type": "file", "file": _file(part)}
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    missing = {"input_image": " by `file_id`", "input_file": " by `file_url`"}.get(str(kind), "")
    raise cannot(f"a part `{kind}`{missing}", param)


def _file(part: Mapping[str, Any]) -> Part:
    return {key: part[key] for key in ("file_data", "file_id", "filename") if part.get(key)}
