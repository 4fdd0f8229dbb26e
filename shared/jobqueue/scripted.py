"""How a script is called: everything by name."""

from collections.abc import Mapping
from typing import Any

from shared.clock import Clock
from shared.config.settings import Settings
from shared.jobqueue.keys import Keys
from shared.jobqueue.kinds import Value
from shared.jobqueue.script import Script, script
from shared.jobqueue.terms import Terms
from shared.store import Store


class Scripted:
    """Sends scripts to one store, for one deployment."""

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self.keys = Keys(settings.prefix)
        self._standing: Mapping[str, Value] = {**self.keys.standing, **vars(Terms(settings))}

    async def _run(self, verb: str, /, **given: Value) -> Any:
        """Runs a verb's script and returns its answer.

        Its header says which keys and arguments it takes. What the deployment fixes and what time it is need not be
        given: see Terms and Keys. Raises TypeError, before anything is sent, for a name that the header does not have,
        for one that is missing, and for a value of the wrong kind.
        """
        called = script(verb)
        values = self._values(called, given)
        keys = [self.keys.checked(name, values[name]) for name in called.keys]
        arguments = [text for argument in called.arguments for text in argument.written(values[argument.name])]
        return await self._store.execute("EVAL", called.text, str(len(keys)), *keys, *arguments)

    def _values(self, called: Script, given: Mapping[str, Value]) -> dict[str, Value]:
        """The value of each key and argument by its name."""
        wanted = [*called.keys, *(argument.name for argument in called.arguments)]
        lease_now = self._clock.lease_now()
        now: dict[str, Value] = {"now": self._clock.now(), "lease_now": int(lease_now) if lease_now else None}
        known = {**self._standing, **now, **given}
        missing = [name for name in wanted if name not in known]
        unknown = [name for name in given if name not in wanted]
        if missing or unknown:
            raise TypeError(f"{called.verb}: missing {missing}, unknown {unknown}")
        return {name: known[name] for name in wanted}
