"""Ids: UUIDv7, each once, also in a process that was forked."""

import subprocess
import sys
import uuid

from aibridge.ids import RANDOM_AT_ONCE, new_id

FORKS = """
import os, sys
from aibridge.ids import new_id
new_id()
child = os.fork()
if child:
    os.waitpid(child, 0)  # what the two write must not mix
print(*(new_id()[19:] for _ in range(100)), flush=True)
"""


def test_ids_are_uuids_of_version_7_and_sort_by_the_time() -> None:
    made = [new_id() for _ in range(3 * RANDOM_AT_ONCE)]
    assert len(set(made)) == len(made)
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in made} == {(7, uuid.RFC_4122)}
    assert [each[:13] for each in made] == sorted(each[:13] for each in made)


def test_a_forked_process_draws_random_numbers_of_its_own() -> None:
    told = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True).stdout
    made = told.split()
    assert len(made) == 200 and len(set(made)) == 200
