"""What all users of the scripts have in common."""

from typing import Any

from shared.clock import Clock
from shared.config.settings import Settings
from shared.jobqueue.keys import Keys
from shared.jobqueue.script import script
from shared.jobqueue.terms import Terms
from shared.store import Store


class Scripted:
    """Sends scripts to one store, for one deployment."""

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._terms = Terms(settings)
        self.keys = Keys(settings.prefix)

    def _now(self) -> str:
        return str(self._clock.now())

    async def _run(self, verb: str, keys: list[str], arguments: list[str]) -> Any:
        return await self._store.execute("EVAL", script(verb).text, str(len(keys)), *keys, *arguments)
