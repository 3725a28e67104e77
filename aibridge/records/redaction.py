"""Texts as the records keep them: what looks like a credential, and what the configuration names, is masked.

Names, numbers and figures are not touched. Works before the journal, so that nothing of it rests anywhere.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aibridge.masking import MASK, mask, may_need_mask, names_secret
from aibridge.records.storable import DEEPER, DEEPEST


class Redaction:
    """Masks by `records.redact` and by looks; raises re.error for a pattern that is none."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = tuple(re.compile(pattern) for pattern in patterns)

    def text(self, text: str) -> str:
        """`text` as it is kept."""
        for pattern in self._patterns:
            text = pattern.sub(MASK, text)
        return mask(text) if may_need_mask(text) else text

    def value(self, value: Any, room: int = DEEPEST) -> Any:
        """A text or a JSON value as it is kept, of `room` levels; under the name of a secret it is masked."""
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, Mapping | list | tuple):
            return value
        if room == 0:
            return DEEPER
        if isinstance(value, Mapping):
            return {
                key: MASK if names_secret(key) and item is not None else self.value(item, room - 1)
                for key, item in value.items()
            }
        return [self.value(item, room - 1) for item in value]
