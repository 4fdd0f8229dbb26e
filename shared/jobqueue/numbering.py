"""The queues' numbers in the store, which must not change while it is in use.

Lanes, limits and pauses go by a queue's number, which is its place in QUEUES. Another order would move them, and the
jobs that wait, to another queue. So the store remembers the names, and a deployment that contradicts them is refused.
"""

from collections.abc import Sequence
from typing import Any

from shared.config.settings import Settings
from shared.errors import StoreError, StoreRefused
from shared.jobqueue.keys import Keys
from shared.log import log
from shared.store import Store

BUILT_IN = 2  # queues that every deployment has, in this order


class QueuesMoved(StoreRefused):
    """Surely not applied: QUEUES gives a queue another number than it has in the store."""

    def __init__(self, names: Sequence[str]) -> None:
        order = ", ".join(names[BUILT_IN:]) or "no other queue"
        super().__init__(f"QUEUES must begin as the store remembers it ({order}), and new queues come behind")


class NumberedStore:
    """A store that executes nothing for a deployment whose queues have other numbers than in the store.

    The first command of a process costs one call more, and a list that has grown another one. A deployment that adds no
    queues of its own has none to move, and pays nothing.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._names = [queue.name for queue in settings.queue_list]
        self._key = Keys(settings.prefix).queue_names
        self._is_checked = len(self._names) == BUILT_IN
        self._is_reported = False

    async def execute(self, *command: str) -> Any:
        """Raises QueuesMoved besides what the store raises."""
        if not self._is_checked:
            await self._check()
        return await self._store.execute(*command)

    async def close(self) -> None:
        await self._store.close()

    async def _check(self) -> None:
        stored = (await self._store.execute("GET", self._key) or "").split(",")
        known = [name for name in stored if name]
        # A deployment before the last one may know fewer queues, while both serve.
        if any(ours != theirs for ours, theirs in zip(self._names, known, strict=False)):  # mutant: moved queues
            if not self._is_reported:  # each call is refused; one line of a process is enough
                self._is_reported = True
                log.error("queues_moved", stored=known, configured=self._names)
            raise QueuesMoved(known)
        if len(self._names) > len(known):
            await self._note()
        self._is_checked = True

    async def _note(self) -> None:
        try:
            await self._store.execute("SET", self._key, ",".join(self._names))
        except StoreError as error:
            # A full store takes no list, and jobs must end in it all the same. The next process tries again.
            log.warning("queues_not_noted", code=error.code, cause=error.cause)
