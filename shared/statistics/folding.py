"""Sums the entries of the stream into the sums by minute, by hour and of all time.

    stream: | summed, not dropped yet | up to COUNT entries are summed now | the next fold's |
                                      ^ `upto` of the ledger               ^ `upto` after this fold

The sums are one HASH. One HSET writes whatever a fold changes, together with its mark; fold.lua compares the mark with
the one that the caller has read. So two folds at once, a repeat, and a script that stops count nothing twice.
"""

import asyncio
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from shared.budget import Budget
from shared.errors import StoreError
from shared.jobqueue.answers import Forms
from shared.jobqueue.constants import MAX_UNSUMMED
from shared.jobqueue.replies import Done
from shared.jobqueue.scripted import Scripted
from shared.log import log
from shared.statistics.ledger import Batch, Ledger, place_of
from shared.statistics.models import OTHER
from shared.sums import EVENTS, Sums

VERBS = ("fold",)
FOLDER = Path(__file__).parent / "scripts"
FORMS: Forms = {"fold": (Done,)}

COUNT = 1000  # entries of one fold
MAX_TOUCHED = (
    900  # minutes of one fold, and one more entry's: with their hours below 2,000 fields, so unpack takes them
)
NEARLY_LOST = MAX_UNSUMMED * 4 // 5  # entries; the stream drops the oldest ones soon
FOLD_AT = 500  # entries; so folds cost 0.04 commands for a job at most
MAX_TRIES = 5  # while others fold at the same time
MINUTE, HOUR = 60_000, 3_600_000  # ms
MINUTES_KEPT = 1440 + 60  # a day, and what an hour's cleaning leaves
HOURS_KEPT = 90 * 24
MAX_CLEANED = 2880  # minutes that one fold removes, and their hours; a script's unpack takes 4,000
KEPT_FOR = timedelta(days=91)
LEDGER, ALL = "ledger", "all"  # fields of the sums


def names_at(at: int, now: int) -> list[str]:
    """Returns the fields that a moment belongs to; a moment of long ago has none."""
    minute, hour = at // MINUTE, at // HOUR
    names = [f"m{minute}"] if minute > now // MINUTE - 1440 else []
    return [*names, f"h{hour}"] if hour > now // HOUR - HOURS_KEPT else names


class Folding(Scripted):
    """Folds. One fold is up to five calls and 10 billed commands, or 1 if there is nothing to sum."""

    folder: ClassVar[Path | None] = FOLDER
    forms: ClassVar[Forms] = FORMS

    async def waiting(self) -> int:
        """Returns how many entries wait for a fold; one command."""
        return int(await self._store.execute("XLEN", self.keys.entries))

    async def sweep(self, budget: Budget, is_daily: bool) -> None:
        """Folds for a sweep, if enough waits or it is the day's; an error is logged, so it ends no sweep.

        It ends with the budget. A fold that stops is safe, so it begins while two of its calls have time.
        """
        try:
            waiting = await self.waiting()
            if waiting > NEARLY_LOST:
                log.warning("entries_nearly_lost", waiting=waiting, at_most=MAX_UNSUMMED)
            if is_daily:  # also where nothing happens, so that the sums outlive a quiet time
                await self._store.execute("EXPIRE", self.keys.sums, str(round(KEPT_FOR.total_seconds())))
            elif waiting < FOLD_AT:  # mutant: few entries
                return
            async with asyncio.timeout(budget.left):
                while budget.left > 2 * self._settings.store_total_timeout:  # mutant: time to fold
                    if not await self.fold():
                        break
        except StoreError as error:
            log.warning("statistics_not_summed", code=error.code)
        except Exception as error:  # mutant: bug in a fold
            log.exception("fold_failed", error=type(error).__name__)

    async def fold(self) -> bool:
        """Sums up to COUNT entries; returns whether more are left. If another fold is at it all the time, it is so."""
        for _ in range(MAX_TRIES):
            rows = await self._store.execute("XRANGE", self.keys.entries, "-", "+", "COUNT", str(COUNT))
            if not rows:
                return False
            summed = await self._sum(rows)
            if summed:
                return len(rows) == COUNT or summed < len(rows)
        return True

    async def _sum(self, rows: list[Any]) -> int:
        """Writes what these rows of the stream add; returns how many it took, 0 if another fold was first."""
        now = self._clock.now()
        mark, ledger_text, all_text = await self._store.execute("HMGET", self.keys.sums, "mark", LEDGER, ALL)
        is_first = ledger_text is None
        ledger = Ledger(now) if is_first else Ledger.read(ledger_text)
        batch, taken = Batch(ledger, self._settings, now), 0
        for entry, flat in rows:
            if len(batch.minutes) >= MAX_TOUCHED:  # mutant: fields of one fold
                break
            taken += 1
            if place_of(entry) > place_of(ledger.upto):  # mutant: summed before
                batch.take(zip(flat[::2], flat[1::2], strict=True))
        ledger.upto, now = max(ledger.upto, rows[taken - 1][0], key=place_of), batch.now
        if is_first:
            ledger.since, ledger.cleaned = now, now // MINUTE - MINUTES_KEPT
        if batch.unreadable:
            log.warning("entries_unreadable", count=batch.unreadable)
        batch.take_counters(await self._counters(), is_first=is_first)
        fields = await self._fields(batch, Sums.read(all_text), now)
        ms, number = place_of(ledger.upto)
        done = await self._run(
            "fold", Done, seen=mark or "", mark=secrets.token_hex(8), first_left=f"{ms}-{number + 1}", ttl=KEPT_FOR,
            old=",".join(_old(ledger, batch.cleaned_until)), fields=fields | {LEDGER: ledger.written()},
        )  # fmt: skip
        return taken if done.has_changed else 0

    async def _counters(self) -> dict[str, int]:
        values = await self._store.execute("HMGET", self.keys.stats, *EVENTS)
        return {name: int(value or 0) for name, value in zip(EVENTS, values, strict=True)}

    async def _fields(self, batch: Batch, everything: Sums, now: int) -> dict[str, str]:
        """Returns the fields of the HASH that this batch changes, as they are with it."""
        changed: dict[str, Sums] = {}
        for part in batch.parts:
            everything.add(part.sums)
            for name in names_at(part.at, now):
                changed.setdefault(name, Sums()).add(part.sums)
        for model in batch.models.dropped:
            everything = everything.without(model, OTHER)
        names = sorted(changed)
        known = await self._store.execute("HMGET", self.keys.sums, *names) if names else []
        for name, text in zip(names, known, strict=True):
            changed[name].add(Sums.read(text))
        return {name: sums.written() for name, sums in changed.items()} | {ALL: everything.written()}


def _old(ledger: Ledger, now: int) -> list[str]:
    """Names the fields that are no longer kept, an hour of minutes at a time; the ledger says how far it is."""
    first, last = ledger.cleaned, now // MINUTE - MINUTES_KEPT
    if last < first + 60:
        return []
    ledger.cleaned = last = min(last, first + MAX_CLEANED)
    back = MINUTES_KEPT // 60 - HOURS_KEPT  # the hours move on with the minutes
    hours = [f"h{hour + back}" for hour in range(first // 60, last // 60)]
    return [f"m{minute}" for minute in range(first, last)] + hours
