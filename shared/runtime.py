"""Puts the parts together, once for each event loop.

Clients are built when first used and kept between invocations: building one costs as much as thirty calls, most of it
for reading the certificates. They belong to the loop they were built on, so a new loop gets its own.
"""

import asyncio
import functools
from weakref import WeakKeyDictionary

from shared.admission import Admission
from shared.batches import Batches
from shared.cache import Cache
from shared.cancellation import Cancellation
from shared.clock import Clock, SystemClock
from shared.configuration import load_settings
from shared.cursors import Cursors
from shared.dispatcher import Dispatcher
from shared.durations import Durations
from shared.jobqueue import BatchQueue, Controls, History, JobQueue, Records
from shared.limits import Limits
from shared.listing import Listing
from shared.log import configure_logs, log
from shared.providers.loading import Providers
from shared.reconciler import Reconciler
from shared.redrive import Redrive
from shared.settings import Settings
from shared.statuses import Statuses
from shared.store import Store, open_store
from shared.tick import Tick


@functools.cache
def settings() -> Settings:
    """The deployment's settings; SettingsError stops the start of whatever imports a function."""
    loaded = load_settings()
    configure_logs(loaded.log_level)
    log.info(f"start storage_mode={loaded.storage_mode}", environment=loaded.environment, prefix=loaded.prefix)
    return loaded


class Runtime:
    """The verbs that functions call, on one event loop."""

    def __init__(self, configured: Settings, store: Store, clock: Clock) -> None:
        self.settings = configured
        self.store = store
        self.clock = clock
        self.providers = Providers(configured)
        durations = Durations()
        self.queue = JobQueue(store, configured, clock)
        self.records = Records(store, configured, clock)
        self.controls = Controls(store, configured, clock)
        self.limits = Limits(self.controls, configured, clock)
        self.reconciler = Reconciler(self.queue, self.records, self.providers, durations, configured, clock)
        self.dispatcher = Dispatcher(self.queue, self.providers, self.reconciler, durations, configured, clock)
        self.history = History(store, configured, clock)
        self.tick = Tick(self.queue, self.records, self.history, self.dispatcher, configured, clock)
        self.admission = Admission(self.queue, self.records, self.dispatcher, configured, clock)
        cursors = Cursors(configured)
        self.listing = Listing(self.history, cursors)
        self.redrive = Redrive(self.history, self.admission, self.dispatcher, cursors, configured)
        self.cancellation = Cancellation(self.queue, self.reconciler, self.dispatcher)
        self.cache = Cache(256, store=store, prefix=configured.prefix)
        self.batch_queue = BatchQueue(store, configured, clock)
        self.batches = Batches(self.batch_queue, self.dispatcher, self.cache, configured, clock)
        self.statuses = Statuses(
            self.queue, self.records, self.reconciler, self.dispatcher, self.cache, configured, clock
        )

    async def close(self) -> None:
        """Gives back all connections."""
        await self.providers.close()
        await self.store.close()


_of_loop: "WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime]" = WeakKeyDictionary()


def current() -> Runtime:
    """The running loop's runtime, built at the first call."""
    loop = asyncio.get_running_loop()
    runtime = _of_loop.get(loop)
    if runtime is None:
        configured = settings()
        runtime = _of_loop[loop] = Runtime(configured, open_store(configured), SystemClock())
    return runtime


def install(runtime: Runtime) -> None:
    """Makes the running loop use this runtime: for tests and benches, which bring their own clock and settings."""
    _of_loop[asyncio.get_running_loop()] = runtime
