"""Journals whose owners died: folded whole, what ran in them marked as interrupted, then removed.

A journal whose owner lives, in this process or another, is left alone.
"""

import os
from pathlib import Path

from aibridge.records import files, logs
from aibridge.records.failures import DatabaseFailing
from aibridge.records.folding import fold
from aibridge.records.pricing import NO_PRICES, Prices
from aibridge.records.store import Store
from aibridge.records.tail import Tail


class TakingOver:
    """Looks now and then for owners that died while this process lives; what fails is told once."""

    def __init__(self, folder: Path, store: Store, prices: Prices = NO_PRICES) -> None:
        self._folder, self._store, self._prices = folder, store, prices
        self._told: set[str] = set()

    def __call__(self) -> None:
        """Fold what dead owners left. Raises OSError when the folder cannot be read."""
        take_over(self._folder, self._store, self._prices, self._told)


def take_over(
    folder: Path, store: Store, prices: Prices = NO_PRICES, told: set[str] | None = None
) -> str | None:
    """Fold what dead owners left in `folder`; None, or the sentence why something stays for later.

    Journals in `told` are not told of again. Raises OSError when `folder` cannot be read.
    """
    problem = None
    for journal in files.journals(folder) if folder.is_dir() else ():
        marker = files.marker_path(folder, journal)
        if (held := files.hold(marker)) is None:
            continue
        try:
            _fold_whole(folder, journal, store, prices)
            marker.unlink(missing_ok=True)
        except (DatabaseFailing, OSError) as error:
            problem = f"the journal of an ended process stays for later: {error}"
            if told is None or journal not in told:
                logs.warning(problem, journal=journal)
            if told is not None:
                told.add(journal)
        finally:
            os.close(held)
    return problem


def _fold_whole(folder: Path, journal: str, store: Store, prices: Prices) -> None:
    """Fold a held journal and only then remove its segments, so that another try finds them all."""
    numbers = files.segment_numbers(folder, journal)
    entries = 0
    for number in numbers:
        tail = Tail(folder, journal, number)
        try:
            while payloads := tail.read(newest=number):
                fold(store, payloads, journal, prices)
                tail.advance()
                entries += len(payloads)
        finally:
            tail.close(forget=False)
    interrupted = store.interrupt(journal)
    for number in numbers:
        files.segment_path(folder, journal, number).unlink(missing_ok=True)
    if numbers:  # else its owner was about to begin with it, or had all but removed it
        logs.info("took over the journal of an ended process", entries=entries, interrupted=interrupted)
