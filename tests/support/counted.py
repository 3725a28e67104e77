"""`aibridge` in a process that can be asked what lives in it: SIGUSR1 writes a census to AIBRIDGE_CENSUS.

`python -P tests/support/counted.py serve …` is `aibridge serve …`. A census is JSON: the asyncio
tasks that have not ended by name, how many objects the garbage collector knows, and their types.
"""

import asyncio
import gc
import json
import os
import signal
from collections import Counter
from pathlib import Path
from types import FrameType

from aibridge.cli import main


def _write(_signal: int, _frame: FrameType | None) -> None:
    gc.collect()
    living = gc.get_objects()
    named = Counter(each.get_name() for each in living if isinstance(each, asyncio.Task) and not each.done())
    types = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in living)
    told = {
        "tasks": named,
        "objects": len(living),
        "types": {name: count for name, count in types.items() if count > 5},
    }
    file = Path(os.environ["AIBRIDGE_CENSUS"])
    unfinished = file.with_suffix(".new")
    unfinished.write_text(json.dumps(told))
    unfinished.replace(file)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _write)
    main()
