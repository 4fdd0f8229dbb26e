"""Brings notices to those who lack them.

A try is counted, with the moment of the next one, in the write that precedes it. So a process that is cut off while it
sends costs one try, and no receiver gets a notice without end.
"""

import functools

from shared.alerts.receivers import Receiver, Sent, receivers, sent_within
from shared.alerts.standing import Notice, State
from shared.clock import Clock
from shared.config.settings import Settings
from shared.log import log
from shared.together import together

SEND_DEADLINE = 5.0  # s for one receiver
RETRIES = (60, 120, 300, 600, 1200)  # s before each further try; the next look after that makes it
MAX_TRIES = len(RETRIES) + 1
MAX_RETRY_AFTER = 3600.0  # s
MAX_PENDING = 10  # notices that are still to be sent; older ones are dropped
UNKNOWN_FOR = 3_600_000  # ms that a notice waits for a receiver that this process does not have

Tries = dict[str, Notice]  # by receiver, which notice it gets now


class Sending:
    """The receivers of a deployment, and what they lack. Belongs to one event loop."""

    def __init__(self, settings: Settings, clock: Clock, places: dict[str, Receiver] | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._places = places

    @functools.cached_property
    def receivers(self) -> dict[str, Receiver]:
        """The receivers by name; they and their clients are made when the first notice is to be sent."""
        return receivers(self._settings, self._clock) if self._places is None else self._places

    def add(self, state: State, notice: Notice) -> None:
        """Adds a notice for all receivers, and drops the oldest ones of too many."""
        notice["left"] = {name: [0, notice["at"]] for name in self.receivers}
        state.notices = [*state.notices, notice]
        for dropped in state.notices[:-MAX_PENDING]:
            for name in dropped["left"]:
                _report(dropped, name, "too many", is_last=True)
        state.notices = state.notices[-MAX_PENDING:]

    def take(self, state: State, now: int) -> Tries:
        """Returns what is to be sent now, and notes each try in the state as if it failed."""
        tries: Tries = {}
        for notice in state.notices:
            for name, (count, next_at) in [*notice["left"].items()]:
                if name not in self.receivers:
                    # In a rollout the other release has it; later nobody has.
                    if now - notice["at"] >= UNKNOWN_FOR:  # mutant: receiver of another process
                        _strike(notice, name, "no such receiver")
                elif next_at <= now and count >= MAX_TRIES:  # the last try was cut off
                    _strike(notice, name, "cut off")
                elif next_at <= now and name not in tries:
                    # One receiver gets one notice at a time, the oldest first; the next one waits for the next look.
                    tries[name] = notice
                    notice["left"][name] = [count + 1, now + _wait_after(count + 1)]  # mutant: try before the send
        state.notices = [notice for notice in state.notices if notice["left"]]
        return tries

    async def send(self, state: State, tries: Tries, seconds: float) -> None:
        """Sends to all at once, each within its deadline, and notes in the state how that went."""
        sent: dict[str, Sent] = {}

        async def send(name: str, notice: Notice) -> None:
            sent[name] = await sent_within(self.receivers[name], notice, min(SEND_DEADLINE, seconds))

        await together(*(send(name, notice) for name, notice in tries.items()))
        now = self._clock.now()
        for name, notice in tries.items():
            _note(notice, name, sent[name], now)
        state.notices = [notice for notice in state.notices if notice["left"]]

    async def close(self) -> None:
        """Closes the connections, if any was made."""
        if "receivers" in vars(self):
            for receiver in self.receivers.values():
                await receiver.close()


def _wait_after(tries: int) -> int:
    """Returns the ms to the next try after so many."""
    return 1000 * RETRIES[min(tries, len(RETRIES)) - 1]


def _note(notice: Notice, name: str, sent: Sent, now: int) -> None:
    """Notes in the notice how a try went that was counted before."""
    tries = notice["left"][name][0]
    if sent.has_come:
        del notice["left"][name]
    elif tries >= MAX_TRIES:  # mutant: tries of a receiver
        _strike(notice, name, sent.why)
    else:
        _report(notice, name, sent.why)
        wait = max(_wait_after(tries), round(1000 * min(sent.wait, MAX_RETRY_AFTER)))  # mutant: wait of a receiver
        notice["left"][name] = [tries, now + wait]


def _strike(notice: Notice, name: str, why: str) -> None:
    _report(notice, name, why, is_last=True)
    del notice["left"][name]


def _report(notice: Notice, name: str, why: str, *, is_last: bool = False) -> None:
    """Logs that a notice has not come. A mailbox has its address as its name, which no log holds."""
    to = "email" if "@" in name else name
    said = {"notice": notice["id"], "to": to, "why": why, "tries": notice["left"][name][0]}
    if is_last:
        log.error("alert_not_sent", **said)
    else:
        log.warning("alert_not_sent", **said)
