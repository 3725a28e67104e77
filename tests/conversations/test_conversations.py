"""Every golden conversation, however its bytes arrive."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.conversations.replaying import Chop, exchanges, expected_files, replay

HERE = Path(__file__).parent
CONVERSATIONS = sorted(folder.name for folder in HERE.iterdir() if (folder / "NOTE").exists())
CHOPS = [Chop("whole"), Chop("bytes"), Chop("random", 1), Chop("random", 2)]
REWRITE = os.environ.get("AIBRIDGE_GOLDEN") == "write"


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_gives_the_same_bytes_bodies_and_records_however_it_is_chopped(name: str) -> None:
    folder = HERE / name
    assert (folder / "NOTE").read_text().strip(), "say what the conversation shows, and its source"
    if REWRITE:
        for exchange, seen in zip(exchanges(folder), asyncio.run(replay(folder, CHOPS[0])), strict=True):
            for file, content in expected_files(seen).items():
                (exchange / file).write_bytes(content)
    for chop in CHOPS:
        for exchange, seen in zip(exchanges(folder), asyncio.run(replay(folder, chop)), strict=True):
            for file, content in expected_files(seen).items():
                expected = (exchange / file).read_bytes()
                assert content == expected, f"{exchange.name}/{file}, {chop.name} {chop.seed or ''}"


def test_there_are_conversations() -> None:
    assert len(CONVERSATIONS) >= 12
