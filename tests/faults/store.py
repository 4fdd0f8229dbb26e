"""A process's way to the store: RestStore's own handling of lost answers, over an engine that loses none."""

from typing import Any

from shared.errors import StoreUncertain
from shared.jobqueue.script import VERBS, script
from shared.log import Repeats
from shared.store.refusals import StoreInterrupted
from shared.store.rest import RestStore
from shared.turnstile import Turnstile
from tests.faults.engines import NEVER, Engine, MemoryEngine, WireEngine
from tests.faults.plan import Path
from tests.faults.process import Passage, Process


class FaultyStore:
    """The store as an instance sees it; ``process`` is the instance's current one."""

    process: Process

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._verbs = {script(verb).text: verb for verb in VERBS}

    async def execute(self, *command: str) -> Any:
        process = self.process

        verb = self._verbs.get(command[1], command[0]) if command[0] == "EVAL" else command[0]

        async def sent(passage: Passage) -> Any:
            if isinstance(self._engine, WireEngine):
                return await self._engine.send(passage.loss, *command)
            answer = await Call(self._engine, process, passage).execute(*command)
            if command[0] == "EVAL" and isinstance(self._engine, MemoryEngine):
                path = Path(verb, tuple(self._engine.commands), tuple(self._engine.writes()))
                process.note_path(passage.number, path)
            return answer

        return await process.io(f"store:{verb}", sent)

    async def close(self) -> None:
        """Closes nothing: the engine outlives its processes."""


class Call(RestStore):
    """One call of RestStore, with its repeat; only the single tries are replaced."""

    def __init__(self, engine: Engine, process: Process, passage: Passage) -> None:
        self._try_timeout = self._total_timeout = NEVER
        self._turnstile, self._repeats = Turnstile(1, 0), Repeats()
        self._engine = engine
        self._process = process
        self._loss = passage.loss

    async def _once(self, command: list[str]) -> Any:
        loss = self._loss
        if loss is None:
            return await self._engine.execute(*command)
        if loss.kind == "stop":
            assert isinstance(self._engine, MemoryEngine), "only memory mode stops a script"
            await self._engine.stop_half_way(loss.command, *command)
            raise StoreInterrupted("it is full")
        if loss.kind != "silence":
            self._loss = None
        if loss.when == "after":
            await self._engine.execute(*command)
        if loss.kind == "stale_repeat":
            await self._process.freeze(loss)
        raise StoreUncertain
