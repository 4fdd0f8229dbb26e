"""A function's instance: the runtime of shared/runtime.py with a store, provider, files and endpoint that can fail."""

from typing import Protocol, cast

from shared.clock import Clock
from shared.config.settings import Settings
from shared.egress import Guard
from shared.hooks.address import HookAddresses
from shared.runtime import Runtime
from shared.storage.bucket import Bucket
from tests.faults import endpoint, files
from tests.faults.endpoint import FaultyEndpoint
from tests.faults.engines import Engine
from tests.faults.files import FaultyBucket, FaultySource
from tests.faults.process import Process
from tests.faults.provider import FakeProvider, FaultyProvider
from tests.faults.store import FaultyStore


class World(files.Surroundings, endpoint.Surroundings, Protocol):
    """What the files, the endpoint and the submits need of the simulation."""

    def new_incarnation(self) -> str:
        """Returns the incarnation of a job that is submitted now."""

    @property
    def max_listed(self) -> int:
        """How many jobs the history lists."""


async def anywhere(host: str, port: int) -> list[str]:
    """Resolves every host to one public address."""
    return ["93.184.215.14"]


class Instance:
    """Runs one process after the other; they share the runtime's memory."""

    def __init__(self, settings: Settings, engine: Engine, provider: FakeProvider, clock: Clock, world: World) -> None:
        self._store = FaultyStore(engine)
        self._provider = FaultyProvider(provider)
        self._bucket = FaultyBucket(world)
        self._source = FaultySource(world)
        self._endpoint = FaultyEndpoint(world)
        self.runtime = Runtime(
            settings, self._store, clock, providers={"replicate": self._provider},
            bucket=cast(Bucket, self._bucket), source=self._source, endpoint=self._endpoint,
        )  # fmt: skip
        self.runtime.admission.new_incarnation = self.runtime.batches.new_incarnation = world.new_incarnation
        self.runtime.history.max_listed = world.max_listed
        self.runtime.hook_addresses = HookAddresses(Guard(allow_loopback=False, resolver=anywhere))

    def host(self, process: Process) -> None:
        """Assigns all further I/O of the runtime to the process."""
        for way in (self._store, self._provider, self._bucket, self._source, self._endpoint):
            way.process = process
