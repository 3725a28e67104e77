"""What the model gets of a tool's result: text (2-wire.md, "Between the turns").

Pure; reads the wire form of MCP's CallToolResult. What cannot be text becomes one line that names kind,
type and size. A result without anything is told as such, because some providers refuse empty content.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

ERROR = "Error: "
NOTHING = "(The tool gave no output.)"


def result_text(result: Mapping[str, Any], limit: int) -> str:
    """The result as text of at most `limit` characters, plus a line that says so where it was cut."""
    text = _whole_text(result)
    return cut(ERROR + text if result.get("isError") else text, limit)


def cut(text: str, limit: int) -> str:
    """`text`, cut after `limit` characters with a line that says so."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[Cut here: these are the first {limit} of {len(text)} characters.]"


def _whole_text(result: Mapping[str, Any]) -> str:
    blocks: Sequence[Mapping[str, Any]] = result.get("content") or ()
    structured = result.get("structuredContent")
    lines = [_block_text(block) for block in blocks]
    if structured is not None and not any(_is_text(block) for block in blocks):
        lines.append(json.dumps(structured, ensure_ascii=False))
    return "\n".join(lines) or NOTHING


def _is_text(block: Mapping[str, Any]) -> bool:
    return block.get("type") == "text" or "text" in block.get("resource", {})


def _block_text(block: Mapping[str, Any]) -> str:
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "image" | "audio" as kind:
            return _described(kind, block.get("mimeType"), _decoded_size(block.get("data")))
        case "resource_link":
            what = f"link to resource {block.get('name', '')} <{block.get('uri', '')}>"
            return _described(what, block.get("mimeType"), block.get("size"))
        case "resource":
            return _resource_text(block.get("resource", {}))
    return _described(str(block.get("type", "unknown content")), block.get("mimeType"), None)


def _resource_text(resource: Mapping[str, Any]) -> str:
    if "text" in resource:
        return str(resource["text"])
    what = f"resource <{resource.get('uri', '')}>"
    return _described(what, resource.get("mimeType"), _decoded_size(resource.get("blob")))


def _described(what: str, mime_type: str | None, size: int | None) -> str:
    known = [what, mime_type or "unknown type", "unknown size" if size is None else f"{size} bytes"]
    return f"[{', '.join(known)}]"


def _decoded_size(base64_text: str | None) -> int | None:
    """Bytes that the base64 text stands for."""
    if base64_text is None:
        return None
    return len(base64_text) * 3 // 4 - base64_text[-2:].count("=")
