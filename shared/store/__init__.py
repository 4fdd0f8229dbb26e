"""The store: everything Sluice remembers, behind one verb.

Every state change is one script and every read one command, so a store only has to execute a command. Whatever is
given to ``execute`` must be safe to send twice: a try whose answer was lost is repeated once.
"""

from typing import Any, Protocol

from shared.config.settings import Settings


class Store(Protocol):
    """Executes one command and returns its reply: None, int, text or nested lists of these."""

    async def execute(self, *command: str) -> Any:
        """Raises StoreUnavailable (surely not applied), StoreUncertain (maybe applied) or StoreScriptError."""

    async def close(self) -> None:
        """Gives back the connections."""


def open_store(settings: Settings) -> Store:
    """The store that the settings ask for. Imports are local: a function that only validates loads no HTTP client."""
    if settings.use_redis_for_tasks:
        from shared.store.rest import RestStore

        return RestStore(settings)
    from shared.store.memory import MemoryStore

    return MemoryStore()
