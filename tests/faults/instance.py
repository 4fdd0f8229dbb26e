"""A function's instance: the runtime that shared/runtime.py puts together, on a store and a provider that can fail."""

from shared.clock import Clock
from shared.runtime import Runtime
from shared.settings import Settings
from tests.faults.engines import Engine
from tests.faults.process import Process
from tests.faults.provider import FakeProvider, FaultyProvider
from tests.faults.store import FaultyStore


class Instance:
    """Runs one process after the other; what its runtime remembers goes from one to the next."""

    def __init__(self, settings: Settings, engine: Engine, provider: FakeProvider, clock: Clock) -> None:
        self._store = FaultyStore(engine)
        self._provider = FaultyProvider(provider)
        self.runtime = Runtime(settings, self._store, clock)
        self.runtime.providers._loaded["replicate"] = self._provider

    def host(self, process: Process) -> None:
        """Makes what the runtime does from now on the process' own."""
        self._store.process = self._provider.process = process
