"""The store: all of Sluice's state, behind one verb.

Every state change is one script and every read is one command, so a store only has to execute commands. Each command
must be safe to send twice: ``execute`` repeats it once if the answer was lost.
"""

from contextvars import ContextVar
from typing import Any, Protocol

from shared.config.settings import Settings

goes_first: ContextVar[bool] = ContextVar("goes_first", default=False)  # whether a command passes those that wait


class Store(Protocol):
    """Executes one command and returns its reply: None, int, text or nested lists of these."""

    async def execute(self, *command: str) -> Any:
        """Raises StoreUnavailable (surely not applied), StoreUncertain (maybe applied) or StoreScriptError."""

    async def close(self) -> None:
        """Closes the connections."""


def open_store(settings: Settings) -> Store:
    """Returns the store that the settings name. Imports are local: a function that only validates loads no client."""
    if settings.use_redis_for_tasks:
        from shared.store.rest import RestStore

        return RestStore(settings)
    from shared.store.memory import MemoryStore

    return MemoryStore()
