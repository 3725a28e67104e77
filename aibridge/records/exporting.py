"""Rows of exchanges as text: CSV for spreadsheets, JSON lines for programs; some hundred rows a piece."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from aibridge.records.listing import BATCH, EXPORTED, Row

FORMS = ("csv", "jsonl")


def written(rows: Iterable[Row], form: str) -> Iterator[str]:
    """`rows` in pieces of text; `form` is one of FORMS."""
    if form == "csv":
        yield csv_of([EXPORTED])
    left = iter(rows)
    while some := list(islice(left, BATCH)):
        if form == "csv":
            yield csv_of([_cell(row[name]) for name in EXPORTED] for row in some)
        else:
            yield "".join(json_line({name: row[name] for name in EXPORTED}) for row in some)


def json_line(value: Any) -> str:
    """`value` in one line."""
    return json.dumps(value, ensure_ascii=False, default=_plain) + "\n"


def csv_of(rows: Iterable[Iterable[Any]]) -> str:
    """Lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return _plain(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
