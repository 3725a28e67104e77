"""The name under which a tool is injected: `{server}__{tool}`, made valid for every provider.

Pure. A name depends on nothing but server and tool, so it is the same whatever else is configured, and
the upstream's prompt cache keeps hitting.
"""

import hashlib
import re

LONGEST = 64
"""Characters that OpenAI allows in a function's name."""
SEPARATOR = "__"
HASH_DIGITS = 8
FOREIGN = re.compile(r"[^A-Za-z0-9_-]")


def injected_name(server: str, tool: str) -> str:
    """The name for `tool` of `server`: `^[A-Za-z_][A-Za-z0-9_-]{0,63}$`.

    A name that is not plainly readable back into server and tool is cut and closed with a hash of both.
    """
    wanted = server + SEPARATOR + tool
    valid = FOREIGN.sub("_", wanted)
    if not re.match(r"[A-Za-z_]", valid):
        valid = "_" + valid
    # `a_` + `b` and `a` + `_b` both read `a___b`: the first separator has to be the one that we put there.
    ambiguous = wanted.find(SEPARATOR) != len(server)
    if valid == wanted and len(wanted) <= LONGEST and not ambiguous:
        return wanted
    digest = hashlib.sha256(f"{server}\0{tool}".encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]
    return f"{valid[: LONGEST - HASH_DIGITS - 1]}_{digest}"
