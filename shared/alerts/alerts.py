"""Looks for troubles now and then, notes what has changed, and tells the receivers.

    look (8 commands) ──▶ rules ──▶ changes, or tries that are due? ──no──▶ nothing is written
                                       │ yes
                                       ▼
                         put: alerts, a notice for each receiver, and each try that follows
                                       │ two processes that saw the same: the second put changes nothing
                                       ▼
                         send to all receivers at once, each within its deadline
                                       │
                                       ▼
                         put: who has it, and when the others are tried again

A process that dies between sending and the last put has told, and does not know it: a later look tells once more, under
the same id. A receiver that fails is tried by later looks, MAX_TRIES times in all.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.alerts.alert_store import AlertStore, Looked
from shared.alerts.changes import HOUR, due, is_held, update
from shared.alerts.counts import Counts
from shared.alerts.receivers import Receiver
from shared.alerts.rules import HEALED, Ends, Seen, findings
from shared.alerts.sending import Sending
from shared.alerts.silences import read_silences, silenced
from shared.alerts.standing import Notice, State, counted
from shared.budget import Budget
from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import StoreError
from shared.log import log
from shared.usage.usage import Outlook

COUNTERS = ("rescued", "rehomed", "lanes_restored", "undelivered")  # in the order of alert_look's answer
DEADLINE = 10.0  # s for one look with all that follows
WAITED_FOR = 3.0  # s at most that a submit waits, for its question and a look
COUNTS_DEADLINE = 2.0  # s for statistics, and for the month's commands; without them all other alerts are told
SCHEDULE_LOOKS = 300.0  # s at least between two questions of a process' submits for the last tick
T = TypeVar("T")


class Alerts:
    """The alerts of a deployment with receivers. Belongs to one event loop."""

    def __init__(
        self,
        store: AlertStore,
        settings: Settings,
        clock: Clock,
        told: dict[str, Receiver] | None = None,
        counts: Counts | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._sending = Sending(settings, clock, told)
        self._counts = counts or Counts()
        self._timer = timer
        self._looked_at = 0  # ms; the last look of this process
        self._asked_at = 0  # ms; the last question of a submit

    async def run(self, budget: Budget) -> None:
        """Looks unless any process has done so in the last ALERT_PERIOD; raises nothing but a cancellation."""
        await self._look_within(min(DEADLINE, budget.left - self._settings.store_total_timeout))

    async def _look_within(self, seconds: float) -> None:
        now = self._clock.now()
        if abs(now - self._looked_at) < self._settings.alert_gap * 1000:  # mutant: looks of a process
            return
        self._looked_at = now
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._look(Budget(seconds))
        except (StoreError, TimeoutError) as error:
            log.warning("alerts_not_looked_at", error=type(error).__name__)
        except Exception as error:
            log.exception("alerts_failed", error=type(error).__name__)

    async def watch_schedule(self, budget: Budget) -> None:
        """Looks if no tick has come for long, since then none will: for submits. Raises nothing but a cancellation.

        One command for each process and five minutes. The question and the look take WAITED_FOR at most.
        """
        now, threshold = self._clock.now(), self._settings.thresholds.get("schedule_silent")
        if threshold is None or abs(now - self._asked_at) < SCHEDULE_LOOKS * 1000:  # mutant: questions of submits
            return
        self._asked_at = now
        within = budget.at_most(WAITED_FOR)
        try:
            async with asyncio.timeout(within.left):
                tick_at = await self._store.last_tick_at()
        except Exception as error:  # the job was admitted: its submit must not fail
            log.warning("alerts_not_looked_at", error=type(error).__name__)
            return
        if tick_at is None or now - tick_at >= threshold * 1000:  # mutant: silent schedule
            await self._look_within(within.left)

    async def _look(self, budget: Budget) -> None:
        dead = self._settings.thresholds.get("dead_letters")
        began = self._timer()
        looked = await self._store.look(self._settings.alert_gap, None if dead is None else round(dead))
        if looked is None:
            return
        latency = (self._timer() - began) * 1000
        ends = await _counted(self._counts.ends(self._clock.now()), {}, budget)
        outlook = await _counted(self._counts.outlook(), None, budget)
        state = State.read(looked.known)
        notice = self._noticed(state, looked, latency, ends, outlook)
        tries = self._sending.take(state, self._clock.now())
        kept = looked.known
        if not state.is_like(kept):
            text = state.written()
            if not await self._store.put("state", kept, text):  # mutant: told by another
                return
            kept = text
        if notice is not None:
            for change in notice["changes"]:
                log.info("alert_changed", alert=change["key"], change=change["word"])
        if tries:
            # What is left must do for the last write too.
            await self._sending.send(
                state, tries, budget.left - min(self._settings.store_total_timeout, budget.left / 3)
            )
            await self._store.put("state", kept, state.written())

    def _noticed(
        self, state: State, looked: Looked, latency: float, ends: dict[str, Ends], outlook: Outlook | None
    ) -> Notice | None:
        """Brings the state up to what was seen; returns the new notice, which the state has too."""
        now = self._clock.now()
        state.began_at = state.began_at or now
        grown = {
            name: counted(state, name, value, now, HOUR) for name, value in zip(COUNTERS, looked.counters, strict=True)
        }
        healed = {name: grown[name] for name in HEALED}
        given_up = grown["undelivered"]
        standing = {alert["key"]: alert for alert in state.fired}
        seen = Seen(looked, now, latency, self._settings, state.began_at, standing, healed, given_up, ends, outlook)
        update(state, findings(seen), now, self._settings.alert_period)
        state.sent_at = [at for at in state.sent_at if now - at < HOUR]
        quiet = silenced(state.alerts.values(), read_silences(looked.silences, now))
        changes = due(state, now, quiet, is_urgent=is_held(now, state))
        if not changes:
            return None
        notice: Notice = {"id": f"alr_{secrets.token_hex(8)}", "at": now, "changes": changes, "left": {}}
        state.sent_at.append(now)
        self._sending.add(state, notice)
        return notice

    async def close(self) -> None:
        """Closes the connections."""
        await self._sending.close()


async def _counted(work: Awaitable[T], instead: T, budget: Budget) -> T:
    """Returns what is counted elsewhere; ``instead`` if that fails or takes long, since other alerts must be told."""
    try:
        async with asyncio.timeout(min(COUNTS_DEADLINE, budget.left / 4)):
            return await work
    except Exception as error:  # mutant: counts that fail
        log.warning("alerts_without_counts", error=type(error).__name__)
        return instead
