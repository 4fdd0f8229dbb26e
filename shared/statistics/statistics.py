"""Reads the sums. Each read folds first, so it shows what has happened until now."""

from collections.abc import Sequence

from shared.clock import Clock
from shared.config.settings import Settings
from shared.frozen import dataclass
from shared.jobqueue.keys import Keys
from shared.statistics.folding import ALL, HOUR, LEDGER, MINUTE, Folding
from shared.statistics.ledger import Ledger
from shared.statistics.sending import Sending
from shared.store import Store
from shared.sums import Sums

MAX_FOLDS = 20  # of one read; beyond that, it shows less than has happened
READ_AT_ONCE = 200  # fields of one command; a minute of a busy deployment has some KB


@dataclass(frozen=True)
class Totals:
    """All sums since ``since`` (ms)."""

    since: int
    sums: Sums


@dataclass(frozen=True)
class Step:
    """The sums of the ``step`` that begins ``at`` (ms)."""

    at: int
    sums: Sums


class Statistics:
    """What the deployment has done. Without STATISTICS there is nothing, and no command is sent."""

    def __init__(
        self, folding: Folding, sending: Sending | None, store: Store, settings: Settings, clock: Clock
    ) -> None:
        self._folding = folding
        self._sending = sending
        self._store = store
        self._sums = Keys(settings.prefix).sums
        self._is_on = settings.statistics
        self._clock = clock

    async def catch_up(self) -> None:
        """Sends what this process has counted, and sums what waits.

        One command if nothing does, else 10 for each thousand entries.
        """
        if self._sending is not None:
            await self._sending.send()
        for _ in range(MAX_FOLDS if self._is_on else 0):
            if not await self._folding.fold():
                return

    async def totals(self) -> Totals:
        """Returns the sums of all time; they only grow. 2 commands, and those of a fold if anything is new."""
        await self.catch_up()
        if not self._is_on:
            return Totals(self._clock.now(), Sums())
        ledger, everything = await self._store.execute("HMGET", self._sums, LEDGER, ALL)
        since = Ledger.read(ledger).since if ledger else self._clock.now()
        return Totals(since, Sums.read(everything))

    async def range(self, first: int, last: int, step: int) -> list[Step]:
        """Returns the sums of each ``step`` (ms) from ``first`` to before ``last`` (ms); also empty ones.

        ``step`` is a multiple of a minute or of an hour, and both moments of it. Minutes are kept for a day, hours for
        90 days. One command for 200 minutes or hours, and those of a fold if anything is new.
        """
        await self.catch_up()
        unit, letter = (HOUR, "h") if step % HOUR == 0 else (MINUTE, "m")
        numbers = range(first // unit, last // unit)
        found = await self._read([f"{letter}{number}" for number in numbers])
        steps: dict[int, Sums] = {at: Sums() for at in range(first, last, step)}
        for number, text in zip(numbers, found, strict=True):
            at = number * unit
            steps[at - (at - first) % step].add(Sums.read(text))
        return [Step(at, sums) for at, sums in steps.items()]

    async def _read(self, names: Sequence[str]) -> list[str | None]:
        found: list[str | None] = []
        if not self._is_on:
            return [None] * len(names)
        for first in range(0, len(names), READ_AT_ONCE):
            found += await self._store.execute("HMGET", self._sums, *names[first : first + READ_AT_ONCE])
        return found
