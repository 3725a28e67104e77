"""What looks like a credential, masked: for the log, and for the texts that the records keep.

Pure. What is a secret by the configuration is known elsewhere; here only its looks count.
"""

import re
from typing import Any

MASK = "****"
CREDENTIAL = re.compile(r"(?i)(\b(?:bearer|basic)\s+|\bsk-(?:[a-z]+-)*)[A-Za-z0-9._~+/=-]{6,}")
URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
URL_SECRET = re.compile(r"(?i)([?&][\w-]{0,40}(?:key|token|secret|password|signature)[\w-]*=)[^&\s\"']+")
# They begin where a name of a secret does, and are bounded: no text takes more than linear time.
NAMES = (
    r"(?:passw(?:or)?d|passphrase|secret|credentials?|authorization|private[_-]?key|api[_-]?key"
    r"|(?:access|auth|refresh|id|session|bearer)[_-]?token)[\w-]{0,40}"
)
NAMED = re.compile(rf"""(?i)((?:{NAMES}|["']token)\\*["']\s*:\s*\\*["'])(?!\*)(?:[^"'\\]|\\[^"'])+""")
ASSIGNED = re.compile(
    rf"""(?i)({NAMES}\s{{0,9}}[=:]\s{{0,9}})(?!(?:null|none|true|false)\b)[^\s*"',;&][^\s"',;&]+"""
)
PREFIXED = re.compile(
    r"\b((?:AKIA|ASIA)(?=[A-Z0-9]{16}\b)|gh[opsur]_|github_pat_|glpat-|xox[abeprs]-|AIza|hf_|npm_|pypi-"
    r"|ya29\.|[rs]k_(?:live|test)_|eyJ(?=[\w-]{1,2000}\.[\w-]{1,2000}\.))[A-Za-z0-9._~+/=-]{6,}"
)
PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
SENSITIVE_NAME = re.compile(rf"(?i)[\w-]{{0,40}}?{NAMES}\Z|token\Z")
PATTERNS = (URL_SECRET, CREDENTIAL, NAMED, ASSIGNED, PREFIXED, PRIVATE_KEY)
SIGNS = (
    *("sk-", "key", "token", "://", "secret", "passw", "passphrase", "credential", "bearer", "basic"),
    *("authoriz", "signature", "akia", "asia", "aiza", "ya29.", "eyj", "xox", "glpat-", "pypi-"),
)
"""Of a text with a credential one of these is part, in lower case, or, with an underscore, of the next."""
UNDERSCORED = ("gho_", "ghp_", "ghs_", "ghu_", "ghr_", "github_pat_", "hf_", "npm_", "k_live_", "k_test_")


def mask(text: str) -> str:
    """`text` without what looks like a credential."""
    for pattern in PATTERNS:
        text = pattern.sub(rf"\1{MASK}", text)
    return URL_PASSWORD.sub(rf"\1{MASK}@", text)


def may_need_mask(text: str) -> bool:
    """Whether `mask` could change `text`; far cheaper, and sometimes true where it does not."""
    lower = text.lower()
    for sign in SIGNS:  # on the path of every request: a generator would cost as much again
        if sign in lower:
            return True
    return "_" in lower and any(sign in lower for sign in UNDERSCORED)


def names_secret(name: Any) -> bool:
    """Whether a value under `name` is secret whatever it looks like."""
    return isinstance(name, str) and SENSITIVE_NAME.match(name) is not None
