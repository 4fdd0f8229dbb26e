"""A function's instance: the runtime of shared/runtime.py on a store, a provider, files and owners that can fail."""

from typing import Protocol

from shared.clock import Clock
from shared.config.settings import Settings
from shared.runtime import Runtime
from tests.faults import endpoint, files
from tests.faults.endpoint import FaultyEndpoint
from tests.faults.engines import Engine
from tests.faults.files import FaultyBucket, FaultySource
from tests.faults.process import Process
from tests.faults.provider import FakeProvider, FaultyProvider
from tests.faults.store import FaultyStore


class World(files.Surroundings, endpoint.Surroundings, Protocol):
    """What the files and the owners' endpoint need of the simulation."""


class Anywhere:
    """Lets every hook pass; shared/hooks/address.py has tests of its own."""

    async def check(self, url: str) -> None:
        """Asks no resolver."""


class Instance:
    """Runs one process after the other; what its runtime remembers goes from one to the next."""

    def __init__(self, settings: Settings, engine: Engine, provider: FakeProvider, clock: Clock, world: World) -> None:
        self._store = FaultyStore(engine)
        self._provider = FaultyProvider(provider)
        self._bucket = FaultyBucket(world)
        self._source = FaultySource(world)
        self._endpoint = FaultyEndpoint(world)
        self.runtime = runtime = Runtime(settings, self._store, clock, providers={"replicate": self._provider})
        for part in (runtime, runtime.storing, runtime.deliveries, runtime.statuses, runtime.erasure):
            vars(part)["bucket" if part is runtime else "_bucket"] = self._bucket
        vars(runtime.storing)["_client"] = lambda provider: self._source
        vars(runtime.deliveries)["_built"] = self._endpoint
        vars(runtime)["hook_addresses"] = Anywhere()

    def host(self, process: Process) -> None:
        """Makes what the runtime does from now on the process' own."""
        for way in (self._store, self._provider, self._bucket, self._source, self._endpoint):
            way.process = process
