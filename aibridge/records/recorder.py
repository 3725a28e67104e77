"""Hears the facts of exchanges and keeps them: in the journal at once, in the database soon after.

`tell` is called on the path of requests; everything else here may wait for the disk.
"""

from typing import TYPE_CHECKING, Any

from aibridge.config import Records
from aibridge.facts import Fact
from aibridge.records import logs
from aibridge.records.asking import Asking
from aibridge.records.entries import Encoder
from aibridge.records.failures import DatabaseFailing, RecordsError
from aibridge.records.journal import Journal
from aibridge.records.owners import Owners
from aibridge.records.pricing import Prices
from aibridge.records.room import Room

if TYPE_CHECKING:
    from aibridge.records.answer_ids import AnswerIds
    from aibridge.records.caller_secret import CallerSecret
    from aibridge.records.hidden_turns import HiddenTurns
    from aibridge.records.keeper import Keeper
    from aibridge.records.key_shelf import KeyShelf
    from aibridge.records.questions import Questions
    from aibridge.records.store import Store
    from aibridge.records.tool_shelf import ToolShelf
    from aibridge.records.writer import Writer

CLOSING = 10.0
"""Seconds that a stop waits for a database that fails; then the journal is left to the next start."""


class Recorder:
    """The records of this process; `open_records` makes it."""

    def __init__(
        self,
        config: Records,
        journal: Journal,
        store: "Store",
        writer: "Writer",
        secret: "CallerSecret",
        keeper: "Keeper",
        room: Room,
        asking: Asking,
    ) -> None:
        self._encode = Encoder(config)
        self._room = room
        self._journal, self._store, self._writer = journal, store, writer
        self._secret, self._keeper = secret, keeper
        self._asking, self._owners = asking, Owners(config.redact)
        self._lost: dict[str, int] = {}
        self._problem: str | None = None
        self._closed = False

    def tell(self, fact: Fact) -> None:
        """Keep `fact`: it outlives the process when this returns. Never waits, never raises."""
        try:
            if self._room.takes(fact):
                self._room.append(self._encode(fact))
                self._problem = None
                self._writer.wake()
        except Exception as error:  # a record is no reason to break an answer
            self._lose(fact, error)

    def refuses(self) -> str | None:
        """Why no new exchange may begin, in one sentence: what it does could not be recorded."""
        return self._room.refusal()

    def flush(self, within: float = CLOSING) -> bool:
        """Wait until the database has all that was told, `within` seconds at most; whether it has."""
        return self._writer.flush(within)

    def close(self, within: float = CLOSING) -> None:
        """Fold everything and remove the journal; after `within` seconds leave it to the next start."""
        if self._closed:
            return
        self._closed = True
        self._room.settle()
        self._journal.seal()
        folded = self._writer.flush(within)
        ended = self._keeper.stop() & self._writer.stop()
        if folded and ended:
            self._settle()
        else:
            logs.warning("records stay in the journal for the next start", pending=self._pending())
        self._journal.close()
        self._asking.close()
        if ended:
            self._store.close()

    def caller_secret(self) -> bytes:
        """32 random bytes that all processes on this database share; for the HMAC of credentials."""
        return self._secret.value

    def questions(self, prices: Prices) -> "Questions":
        """What is asked of the records; blocking."""
        from aibridge.records.questions import Questions  # noqa: PLC0415 - beside the path of requests

        return Questions(self._store, prices)

    def hidden_turns(self) -> "HiddenTurns":
        """Where hidden turns rest between requests, in the same database."""
        from aibridge.records.hidden_turns import HiddenTurns  # noqa: PLC0415 - loads SQLAlchemy

        return HiddenTurns(self._store, self._asking, self._owners)

    def answer_ids(self) -> "AnswerIds":
        """Where ids of answers rest that lead elsewhere upstream, in the same database."""
        from aibridge.records.answer_ids import AnswerIds  # noqa: PLC0415 - loads SQLAlchemy

        return AnswerIds(self._store, self._asking, self._owners)

    def tool_shelf(self) -> "ToolShelf":
        """Where tool lists and pins rest, in the same database."""
        from aibridge.records.tool_shelf import ToolShelf  # noqa: PLC0415 - loads SQLAlchemy

        return ToolShelf(self._store, self._asking)

    def key_shelf(self) -> "KeyShelf":
        """Where keys rest, in the same database."""
        from aibridge.records.key_shelf import KeyShelf  # noqa: PLC0415 - loads SQLAlchemy

        return KeyShelf(self._store, self._journal.id)

    def health(self) -> dict[str, Any]:
        """For `/readyz`: `state` (`ok` or `degraded`), `pending` entries of the journal, `error`."""
        error = self._problem or self._room.problem or self._writer.error or self._asking.error
        told = {"state": "degraded" if error else "ok", "pending": self._pending(), "error": error}
        lost = sum(self.lost().values())
        return {**told, "lost": lost} if lost else told

    def lost(self) -> dict[str, int]:
        """How many facts could not be kept, by kind of failure."""
        counted = {"EntryRefused": self._writer.left_out, "JournalFull": self._room.dropped}
        return {**self._lost, **{kind: number for kind, number in counted.items() if number}}

    def _pending(self) -> int:
        return max(0, self._journal.appended - self._writer.folded)

    def _lose(self, fact: Fact, error: Exception) -> None:
        kind = type(error).__name__
        self._problem = f"a record could not be written to the journal: {error}"
        if kind not in self._lost:
            logs.error("a record is lost", fact=type(fact).__name__, error=repr(error))
        self._lost[kind] = self._lost.get(kind, 0) + 1

    def _settle(self) -> None:
        """Nobody looks at a journal that is gone: what has no ending by now gets none."""
        try:
            self._secret.ask_again()
            self._store.interrupt(self._journal.id)
        except (DatabaseFailing, RecordsError, OSError) as error:
            logs.warning("exchanges without an ending stay marked as running", error=str(error))
