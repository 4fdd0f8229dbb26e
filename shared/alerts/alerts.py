"""Looks for troubles now and then, notes what has changed, and tells the receivers.

    look (8 commands) ──▶ rules ──▶ changes? ──no──▶ nothing is written
                                       │ yes
                                       ▼
                         put: alerts, and a notice for each receiver
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
from collections.abc import Callable

from shared.alerts.alert_store import AlertStore, Looked
from shared.alerts.changes import HOUR, due, is_held, update
from shared.alerts.counts import Counts
from shared.alerts.receivers import Receiver, Sent, receivers, sent_within
from shared.alerts.rules import HEALED, Ends, Seen, findings
from shared.alerts.silences import read_silences, silenced
from shared.alerts.standing import Notice, State, counted
from shared.budget import Budget
from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import StoreError
from shared.log import log
from shared.together import together
from shared.usage.usage import Outlook

COUNTERS = ("rescued", "rehomed", "lanes_restored", "undelivered")  # in the order of alert_look's answer
DEADLINE = 10.0  # s for one look with all that follows
SEND_DEADLINE = 5.0  # s for one receiver
WAITED_FOR = 3.0  # s at most that a submit waits for a look
SCHEDULE_LOOKS = 300.0  # s at least between two questions of a process' submits for the last tick
RETRIES = (60, 120, 300, 600, 1200)  # s before each further try; the next look after that makes it
MAX_TRIES = len(RETRIES) + 1
MAX_RETRY_AFTER = 3600.0  # s
MAX_PENDING = 10  # notices that are still to be sent; older ones are dropped


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
        self._receivers = receivers(settings, clock) if told is None else told
        self._counts = counts or Counts()
        self._timer = timer
        self._looked_at = 0  # ms; the last look of this process
        self._asked_at = 0  # ms; the last question of a submit

    async def run(self, budget: Budget) -> None:
        """Looks unless any process has done so in the last ALERT_PERIOD; raises nothing but a cancellation."""
        now = self._clock.now()
        if abs(now - self._looked_at) < self._settings.alert_period * 1000:  # mutant: looks of a process
            return
        self._looked_at = now
        seconds = min(DEADLINE, budget.left - self._settings.store_total_timeout)
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._look()
        except (StoreError, TimeoutError) as error:
            log.warning("alerts_not_looked_at", error=type(error).__name__)
        except Exception as error:
            log.exception("alerts_failed", error=type(error).__name__)

    async def watch_schedule(self, budget: Budget) -> None:
        """Looks if no tick has come for long, since then none will: for submits. Raises nothing but a cancellation.

        One command for each process and five minutes.
        """
        now, threshold = self._clock.now(), self._settings.thresholds.get("schedule_silent")
        if threshold is None or abs(now - self._asked_at) < SCHEDULE_LOOKS * 1000:  # mutant: questions of submits
            return
        self._asked_at = now
        try:
            async with asyncio.timeout(min(WAITED_FOR, budget.left)):
                tick_at = await self._store.last_tick_at()
        except (StoreError, TimeoutError) as error:
            log.warning("alerts_not_looked_at", error=type(error).__name__)
            return
        if tick_at is None or now - tick_at >= threshold * 1000:  # mutant: silent schedule
            await self.run(budget.at_most(WAITED_FOR + self._settings.store_total_timeout))

    async def _look(self) -> None:
        dead = self._settings.thresholds.get("dead_letters")
        began = self._timer()
        looked = await self._store.look(self._settings.alert_period, None if dead is None else round(dead))
        if looked is None:
            return
        latency = (self._timer() - began) * 1000
        ends, outlook = await self._counts.ends(self._clock.now()), await self._counts.outlook()
        state = State.read(looked.known)
        notice = self._noticed(state, looked, latency, ends, outlook)
        kept = looked.known
        if not state.is_like(kept):
            text = state.written()
            if not await self._store.put("state", kept, text):  # mutant: told by another
                return
            kept = text
        if notice is not None:
            for change in notice["changes"]:
                log.info("alert_changed", alert=change["key"], change=change["word"])
        if await self._send(state):
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
        seen = Seen(looked, now, latency, self._settings, state.began_at, healed, given_up, ends, outlook)
        update(state, findings(seen, {alert["key"] for alert in state.fired}), now, self._settings.alert_period)
        state.sent_at = [at for at in state.sent_at if now - at < HOUR]
        if is_held(now, state):
            return None
        quiet = silenced(state.alerts.values(), read_silences(looked.silences, now))
        changes = due(state, now, quiet)
        if not changes:
            return None
        notice: Notice = {
            "id": f"alr_{secrets.token_hex(8)}", "at": now, "changes": changes,
            "left": {name: [0, now] for name in self._receivers},
        }  # fmt: skip
        state.sent_at.append(now)
        state.notices = [*state.notices, notice]
        for dropped in state.notices[:-MAX_PENDING]:
            log.error("alert_not_sent", notice=dropped["id"], to=sorted(dropped["left"]), why="too many")
        state.notices = state.notices[-MAX_PENDING:]
        return notice

    async def _send(self, state: State) -> bool:
        """Sends what is due to all receivers at once; returns whether any was tried, and notes in the state how."""
        now = self._clock.now()
        # One receiver gets one notice at a time, the oldest first; the next one waits for the next look.
        tries: dict[str, Notice] = {}
        for notice in state.notices:
            for name, (_, next_at) in notice["left"].items():
                if name not in tries and next_at <= now:
                    tries[name] = notice
        gone = {name for notice in state.notices for name in notice["left"]} - set(self._receivers)
        sent: dict[str, Sent] = {}

        async def send(name: str, notice: Notice) -> None:
            sent[name] = await sent_within(self._receivers[name], notice, SEND_DEADLINE)

        await together(*(send(name, notice) for name, notice in tries.items() if name in self._receivers))
        for name, notice in tries.items():
            if name in sent:
                _note(notice, name, sent[name], now)
        for notice in state.notices:
            notice["left"] = {name: left for name, left in notice["left"].items() if name not in gone}
        state.notices = [notice for notice in state.notices if notice["left"]]
        return bool(sent or gone)

    async def close(self) -> None:
        """Closes the connections."""
        for receiver in self._receivers.values():
            await receiver.close()


def _note(notice: Notice, name: str, sent: Sent, now: int) -> None:
    """Notes in the notice how a try went."""
    tries = notice["left"][name][0] + 1
    if sent.has_come or tries >= MAX_TRIES:  # mutant: tries of a receiver
        del notice["left"][name]
    else:
        wait = max(RETRIES[tries - 1], min(sent.wait, MAX_RETRY_AFTER))  # mutant: wait of a receiver
        notice["left"][name] = [tries, now + round(wait * 1000)]
    if not sent.has_come and tries >= MAX_TRIES:
        log.error("alert_not_sent", notice=notice["id"], to=name, why=sent.why, tries=tries)
    elif not sent.has_come:
        log.warning("alert_not_sent", notice=notice["id"], to=name, why=sent.why, tries=tries)
