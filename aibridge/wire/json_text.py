"""JSON texts that keep what is not changed: an object with the place of each top-level value.

A body is read once, into a value; a change replaces or appends single values, and every other byte
stays as it was sent: key order, white space, number formats, escapes, big integers. msgspec reads nearly
all bodies, several times faster; the json module reads what msgspec refuses and JSON allows (half surrogate
pairs, numbers beyond all bounds), and says what is wrong with the rest.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Self

from msgspec import MsgspecError, Raw
from msgspec.json import Decoder, Encoder

WHITE = " \t\n\r"
WHITE_BYTES = b" \t\n\r"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)
_scan = _decoder.raw_decode
_read_fast = Decoder().decode
_write_fast = Encoder().encode
_values = Decoder(dict[str, Raw]).decode
_items = Decoder(list[Raw]).decode
BEFORE_VALUE = re.compile(rb'\s*+[{,]\s*+"(?:[^"\\]++|\\.)*+"\s*+:\s*+', re.DOTALL)
AFTER_VALUES = re.compile(rb"\s*+\}")
"""In what was read before, where no other white space than JSON's can be."""
Spans = dict[str, tuple[int, int]]


def dumps(value: Any) -> str:
    """`value` as compact JSON, text outside ASCII as itself where UTF-8 can carry it."""
    return encoded(value).decode()


def encoded(value: Any) -> bytes:
    """The same as UTF-8; dataclasses are objects."""
    try:
        return _write_fast(value)
    except (MsgspecError, UnicodeEncodeError, RecursionError):
        # A lone surrogate, escaped in what we read: only an escape can carry it on.
        return json.dumps(value, separators=(",", ":"), default=asdict).encode()


def loads(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also for NaN, bad UTF-8 and nesting without bound."""
    try:
        return _read_fast(text)
    except (MsgspecError, ValueError, RecursionError):
        pass
    try:
        return _decoder.decode(text.decode() if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class ObjectText:
    """The text of a JSON object, its value, and where each top-level value stands in the text."""

    __slots__ = ("_body", "_places", "value")

    def __init__(self, body: str | bytes, value: dict[str, Any], places: Spans | None = None) -> None:
        """`places`: where the values stand in the UTF-8 of `body`."""
        self._body, self.value, self._places = body, value, places

    @classmethod
    def read(cls, body: str | bytes) -> Self:
        """The object in `body`. Raises ValueError with a reason when it is none."""
        try:
            value = _read_fast(body)
        except (MsgspecError, ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return cls(body, value)
        text = body.decode() if isinstance(body, bytes) else body
        value, places = _scanned(text)
        return cls(body, value, _in_bytes(text, places))

    @property
    def data(self) -> bytes:
        """As it was sent."""
        if isinstance(self._body, str):
            self._body = self._body.encode()
        return self._body

    def replaced(self, changes: Mapping[str, str]) -> bytes:
        """The text with the values of `changes` (JSON texts); keys that are new come last."""
        data, pieces, done = self.data, list[bytes](), 0
        known = sorted((self.place(key), text) for key, text in changes.items() if key in self.value)
        for (start, end), text in known:
            pieces += data[done:start], text.encode()
            done = end
        new = [_key(key) + text for key, text in changes.items() if key not in self.value]
        if new:
            close = data.rindex(b"}")
            more = ",".join([""] * bool(self.value) + new)
            pieces += data[done:close], more.encode()
            done = close
        return b"".join([*pieces, data[done:]])

    def replace(self, changes: Mapping[str, str]) -> str:
        """The same as a string."""
        return self.replaced(changes).decode()

    def source(self, key: str) -> str:
        """The text of the value at `key`, which has to be there."""
        start, end = self.place(key)
        return self.data[start:end].decode()

    def place(self, key: str) -> tuple[int, int]:
        """Where in `data` the value at `key` stands, which has to be there.

        Looked for once that is wanted: most bodies go on as they are.
        """
        if self._places is None:
            self._places = _quick_places(self.data) or _places(self.data.decode())
        return self._places[key]


@lru_cache(maxsize=128)
def _key(key: str) -> str:
    return dumps(key) + ":"


def _quick_places(data: bytes) -> Spans | None:
    """Where the values of an object stand that was read before; None where that is not so easily said.

    What is found at a value's place has to be that value: where a key stands twice it may be another.
    """
    try:
        values = _values(data)
    except (MsgspecError, ValueError, RecursionError):
        return None
    places: Spans = {}
    at = 0
    for key, value in values.items():
        before = BEFORE_VALUE.match(data, at)
        if before is None or not data.startswith(value, before.end()):
            return None
        at = before.end() + len(value)
        places[key] = before.end(), at
    return places if AFTER_VALUES.match(data, at) else None


def _places(text: str) -> Spans:
    """Where the values of an object stand that was read before, maybe with less of a stack below."""
    try:
        return _in_bytes(text, _members(text)[1])
    except RecursionError:
        with ThreadPoolExecutor(1) as thread:  # its stack is empty
            return _in_bytes(text, thread.submit(_members, text).result()[1])


def _in_bytes(text: str, places: Spans) -> Spans:
    """The same places in the UTF-8 of `text`."""
    if text.isascii():
        return places
    in_order = sorted(places, key=places.__getitem__)
    counted = _counted([places[key] for key in in_order], lambda start, end: len(text[start:end].encode()))
    return dict(zip(in_order, counted, strict=True))


def _counted(places: Sequence[tuple[int, int]], size_of: Callable[[int, int], int]) -> list[tuple[int, int]]:
    """`places`, which are in order, in another unit: `size_of` tells how much is from one to another."""
    counted: list[tuple[int, int]] = []
    done = size = 0
    for start, end in places:
        begin = size + size_of(done, start)
        done, size = end, begin + size_of(start, end)
        counted.append((begin, size))
    return counted


def _scanned(text: str) -> tuple[dict[str, Any], Spans]:
    """The object in `text`, and where its values stand. Raises ValueError with a reason when it is none."""
    try:
        return _members(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (IndexError, StopIteration):
        raise ValueError("it ends too early") from None


def _members(text: str) -> tuple[dict[str, Any], Spans]:
    at = _skip(text, 0)
    if not text.startswith("{", at):
        loads(text)  # says what is wrong where it is no JSON at all
        raise ValueError("it is not an object")
    value: dict[str, Any] = {}
    spans: Spans = {}
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = _scan(text, at)
        at = _skip(text, at)
        if not isinstance(key, str) or text[at] != ":":
            raise ValueError(f"a key or colon is missing at character {at}")
        start = _skip(text, at + 1)
        value[key], end = _scan(text, start)
        spans[key] = (start, end)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
            if text[at] != '"':
                raise ValueError(f"a key is missing at character {at}")
        elif text[at] != "}":
            raise ValueError(f"a comma or brace is missing at character {at}")
    if text[at + 1 :].strip(WHITE):
        raise ValueError(f"there is more after the object at character {at + 1}")
    return value, spans


def extend_array(array: str, items: Iterable[str]) -> str:
    """The JSON text `array` with the JSON texts `items` appended; nothing before them changes."""
    more = ",".join(items)
    if not more:
        return array
    begun = array[: array.rindex("]")].rstrip(WHITE)
    return f"{begun}{'' if begun == '[' else ','}{more}]"


def item_spans(array: str) -> list[tuple[int, int]]:
    """Where each item of the JSON text `array` stands in it."""
    data = array.encode()
    places = item_places(data)
    if len(data) == len(array):
        return places
    return _counted(places, lambda start, end: len(data[start:end].decode()))


def item_places(array: bytes) -> list[tuple[int, int]]:
    """The same for its UTF-8."""
    try:
        items = _items(array)
    except (MsgspecError, ValueError, RecursionError):
        return _scanned_items(array.decode())
    places: list[tuple[int, int]] = []
    end = 0
    for item in items:
        start = _skip(array, _skip(array, end) + 1)
        end = start + len(item)
        places.append((start, end))
    return places


def _scanned_items(array: str) -> list[tuple[int, int]]:
    """Where items stand in the UTF-8 of an array that only the json module reads."""
    places: list[tuple[int, int]] = []
    at = _skip(array, _skip(array, 0) + 1)
    while array[at] != "]":
        _, end = _scan(array, at)
        places.append((at, end))
        at = _skip(array, end)
        if array[at] == ",":
            at = _skip(array, at + 1)
    return _counted(places, lambda start, end: len(array[start:end].encode()))


def replace_items(array: str, changes: Mapping[int, Sequence[str]]) -> str:
    """The JSON text `array` with single items replaced by any number of JSON texts, also by none.

    Between items that stay, the text stays; next to a change there is a comma alone. So the text before
    the first change is the same as it was, and as `extend_array` would have gone on from it.
    """
    spans = item_spans(array)
    pieces = [array[: spans[0][0]]] if spans else ["["]
    kept_until: int | None = None
    begun = False
    for index, (start, end) in enumerate(spans):
        items = changes.get(index)
        if items is None:
            between = "," if kept_until is None else array[kept_until:start]
            pieces += [between if begun else "", array[start:end]]
            kept_until, begun = end, True
        else:
            kept_until = None
            for item in items:
                pieces += ["," if begun else "", item]
                begun = True
    return "".join(pieces) + "]"


def _skip(text: str | bytes, at: int) -> int:
    if isinstance(text, bytes):
        while text[at] in WHITE_BYTES:
            at += 1
        return at
    while text[at] in WHITE:
        at += 1
    return at
