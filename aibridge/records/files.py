"""Names, modes and locks of the files in the journal's folder.

A journal is `{id}.owner`, which its owner holds by flock while it lives, and segments
`{id}.{number}.journal`. The kernel lets go of the lock however the owner ends.
"""

import fcntl
import os
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
MARKER = ".owner"
SEGMENT = ".journal"


def make_folder(folder: Path) -> None:
    """Make `folder` for this user alone; one that exists is left as it is."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def marker_path(folder: Path, journal: str) -> Path:
    """The file whose lock says that the owner of `journal` lives."""
    return folder / f"{journal}{MARKER}"


def segment_path(folder: Path, journal: str, number: int) -> Path:
    """The segment `number`; names sort in the order in which segments were begun."""
    return folder / f"{journal}.{number:010d}{SEGMENT}"


def segment_numbers(folder: Path, journal: str) -> list[int]:
    """The segments of `journal` that exist, in order."""
    names = [path.name for path in folder.glob(f"{journal}.*{SEGMENT}")]
    return sorted(int(name.split(".")[1]) for name in names)


def journals(folder: Path) -> list[str]:
    """The ids of all journals in `folder`, oldest first, with or without their marker."""
    names = [path.name for path in folder.iterdir() if path.suffix in (MARKER, SEGMENT)]
    return sorted({name.split(".")[0] for name in names})


def size_of(path: Path) -> int:
    """Bytes of a file; none where it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def total_size(folder: Path) -> int:
    """Bytes of all journals in `folder`."""
    return sum(size_of(path) for path in folder.glob(f"*{SEGMENT}"))


def hold(marker: Path) -> int | None:
    """Take the lock of `marker`, made if missing: its descriptor, or None while another holds it.

    Only a holder removes a marker. One that was removed between opening and locking counts as held
    by another, so no two processes ever hold the same journal.
    """
    descriptor = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
