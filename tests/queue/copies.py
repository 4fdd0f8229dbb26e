"""What a test has sent to the store, to apply it once more when its caller has gone."""

from collections.abc import Sequence
from typing import Any

import pytest

from shared.jobqueue.script import VERBS, script
from tests.world import World

LATE = 60.0  # s; more than STORE_TOTAL_TIMEOUT, the margin, and what a bucket holds


class Wire:
    """Notes what is sent to the store, and lets a test apply it again later."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self._clock = world.manual
        self._execute = world.runtime.store.execute
        self._verbs = {script(verb).text: verb for verb in VERBS}
        self._sent: dict[str, tuple[str, ...]] = {}
        monkeypatch.setattr(world.runtime.store, "execute", self._note)

    async def _note(self, *command: str) -> Any:
        if command[0] == "EVAL":
            self._sent[self._verbs[command[1]]] = command
        return await self._execute(*command)

    async def apply_late(self, verb: str) -> Sequence[Any]:
        """Applies the last call of a verb as it was sent; the store's clock, which tests write into it, has gone on."""
        command = list(self._sent[verb])
        names = [argument.name for argument in script(verb).arguments]
        command[3 + len(script(verb).keys) + names.index("lease_now")] = str(self._clock.true_now)
        answer: Sequence[Any] = await self._execute(*command)
        return answer
