"""Puts the parts together, once for each event loop.

Clients are built at their first use and kept between invocations: building one costs as much as thirty calls, mostly to
read the certificates. A client belongs to the loop that built it, so a new loop gets its own.
"""

import asyncio
import functools
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from starlette.requests import Request

from shared import tracing
from shared.access.caller import Role
from shared.access.credentials import Credentials
from shared.access.scope import Scope
from shared.budget import Budget
from shared.cache import Cache
from shared.clock import Clock, SystemClock
from shared.config.settings import Settings
from shared.dispatch.dispatcher import Dispatcher
from shared.dispatch.durations import Durations
from shared.dispatch.reconciler import Reconciler
from shared.hooks.delivery import Client as EndpointClient
from shared.hooks.delivery import Deliveries
from shared.jobqueue import (
    ApiKeys,
    Audit,
    BatchQueue,
    Controls,
    FollowUps,
    History,
    JobQueue,
    Outbox,
    Overview,
    Records,
    Spending,
)  # fmt: skip
from shared.jobqueue.numbering import NumberedStore
from shared.jobs.cursors import Cursors
from shared.jobs.webhook_alarm import WebhookAlarm
from shared.mailboxes import is_mailto
from shared.operating import OperatorServices
from shared.outbox.scope import Scope as FollowUpScope
from shared.outbox.storing import Storing
from shared.outbox.worker import OutboxWorker
from shared.providers.base import Provider
from shared.providers.loading import Providers
from shared.requests.auth import authenticate
from shared.requests.authorized import Authorized
from shared.startup import settings as settings
from shared.storage.bucket import Bucket
from shared.store import Store, open_store
from shared.usage import counted

if TYPE_CHECKING:
    from shared.dispatch.tick import Tick
    from shared.hooks.address import HookAddresses
    from shared.hooks.delivery_log import DeliveryLog
    from shared.jobs.admission import Admission
    from shared.jobs.audit_trail import Act
    from shared.jobs.batches import Batches
    from shared.jobs.cancellation import Cancellation
    from shared.jobs.erasure import Erasure
    from shared.jobs.health import HealthCheck
    from shared.jobs.key_services import KeyServices
    from shared.jobs.listing import Listing
    from shared.jobs.redrive import Redrive
    from shared.jobs.status import Statuses
    from shared.jobs.tokens import Issuing
    from shared.rates.rates import Rates
    from shared.statistics.sending import Sending
    from shared.storage.source import Client as SourceClient
    from shared.verification.verification import Verification


class Runtime(OperatorServices):
    """The verbs that functions call, on one event loop.

    Tests and benches replace what it calls outside: ``providers`` by name, the ``bucket``, the client that fetches
    files from their ``source``, and the client that calls the owners' ``endpoint``.
    """

    def __init__(
        self, configured: Settings, store: Store, clock: Clock, *,
        providers: Mapping[str, Provider] | None = None, bucket: Bucket | None = None,
        source: "SourceClient | None" = None, endpoint: EndpointClient | None = None,
    ) -> None:  # fmt: skip
        self.settings = configured
        self.store = store
        self.clock = clock
        self.providers = Providers(configured, providers)
        durations = Durations()
        follow_ups = FollowUps(clock)
        self.queue = JobQueue(store, configured, clock, follow_ups)
        self.records = Records(store, configured, clock)
        self.controls = Controls(store, configured, clock)
        self.webhook_alarm = WebhookAlarm(self.controls)
        self.bucket = bucket or Bucket(configured)
        self.reconciler = Reconciler(
            self.queue, self.records, self.providers, durations, self.bucket, configured, clock
        )
        self.dispatcher = Dispatcher(self.queue, self.providers, self.reconciler, durations, configured, clock)
        self.history = History(store, configured, clock)
        self.spending = Spending(store, configured, clock)
        self.overview = Overview(store, configured, clock)
        self.batch_queue = BatchQueue(store, configured, clock, follow_ups)
        self.outbox = Outbox(store, configured, clock, follow_ups)
        self.storing = Storing(self.outbox, self.bucket, configured, clock, source)
        self.deliveries = Deliveries(self.outbox, self.bucket, configured, clock, endpoint)
        self.outbox_worker = OutboxWorker(self.outbox, self.storing, self.deliveries, configured, clock)
        self.cache = Cache(256)
        self.credentials = Credentials(configured, clock, lambda: self.keys.ring)
        self._cursors = Cursors(configured)
        self.sending = self._counting() if configured.statistics else None

    def _counting(self) -> "Sending":
        """Has this process count what costs no command; returns what sends it."""
        from shared.statistics.sending import Sending
        from shared.tally import Tally

        tally = Tally(self.clock)
        self.providers.tally = self.cache.tally = self.storing.tally = self.deliveries.tally = tally
        return Sending(tally, self.store, self.queue.keys, self.clock)

    # What follows is made, and its module loaded, at its first use: no function uses all of it.

    @functools.cached_property
    def admission(self) -> "Admission":
        from shared.jobs.admission import Admission

        return Admission(self.queue, self.records, self.dispatcher, self.settings, self.clock, self._check_hook)

    @functools.cached_property
    def statuses(self) -> "Statuses":
        from shared.jobs.status import Statuses

        return Statuses(
            self.queue, self.records, self.reconciler, self.dispatcher, self.cache, self.bucket,
            self.outbox_worker, self.settings, self.clock,
        )  # fmt: skip

    @functools.cached_property
    def tick(self) -> "Tick":
        from shared.dispatch.tick import Tick
        from shared.storage.retention import Retention

        return Tick(
            self.queue, self.records, self.history, self.dispatcher, self.outbox_worker,
            Retention(self.bucket, self.settings, self.clock), self.spending, self.settings, self.clock,
            self.folding.sweep if self.settings.statistics else None,
            self.alerts.run if self.settings.has_alerts else None,
        )  # fmt: skip

    @functools.cached_property
    def delivery_log(self) -> "DeliveryLog":
        from shared.hooks.delivery_log import DeliveryLog

        return DeliveryLog(self.outbox, self.settings)

    @functools.cached_property
    def listing(self) -> "Listing":
        from shared.jobs.listing import Listing

        return Listing(self.history, self.overview, self.delivery_log, self._cursors, self.keys.owners)

    @functools.cached_property
    def cancellation(self) -> "Cancellation":
        from shared.jobs.cancellation import Cancellation

        return Cancellation(self.queue, self.records, self.reconciler, self.dispatcher)

    @functools.cached_property
    def health(self) -> "HealthCheck":
        from shared.jobs.health import HealthCheck

        return HealthCheck(self.records, self.queue, self.cache, self.settings, self.clock)

    @functools.cached_property
    def batches(self) -> "Batches":
        from shared.jobs.batches import Batches

        return Batches(
            self.batch_queue, self.dispatcher, self.cache, self.bucket, self.outbox_worker, self.settings,
            self.clock, self._check_hook,
        )  # fmt: skip

    @functools.cached_property
    def redrive(self) -> "Redrive":
        from shared.jobs.redrive import Redrive

        return Redrive(
            self.history, self.admission, self.batches, self.dispatcher, self._cursors, self.keys.owners, self.settings
        )

    @functools.cached_property
    def rates(self) -> "Rates":
        from shared.rates.rates import Rates

        return Rates(self.store, self.settings, self.clock)

    @functools.cached_property
    def erasure(self) -> "Erasure":
        from shared.jobs.erasure import Erasure

        return Erasure(
            self.history, self.cancellation, self.batches, self.dispatcher, self.bucket, self.cache,
            self.settings, self.clock,
        )  # fmt: skip

    @functools.cached_property
    def hook_addresses(self) -> "HookAddresses":
        """The check of hook URLs. Built at its first use: it loads httpx, which a submit without a hook never needs."""
        from shared.egress import Guard
        from shared.hooks.address import HookAddresses

        return HookAddresses(Guard(self.settings.allow_loopback))

    @functools.cached_property
    def verification(self) -> "Verification":
        """Verification codes. Built at its first use: no other function needs it."""
        from shared.mail.opening import open_mailer
        from shared.verification.codes import Codes
        from shared.verification.verification import Verification

        codes = Codes(self.store, self.settings, self.clock)
        return Verification(codes, open_mailer(self.settings), self.settings, self.clock)

    async def _check_hook(self, url: str, owner: str) -> None:
        if is_mailto(url):
            from shared.hooks.mailing import check_mailbox

            check_mailbox(url, self.settings)
            return
        await self.hook_addresses.check(url, owner)

    @functools.cached_property
    def issuing(self) -> "Issuing":
        from shared.jobs.tokens import Issuing

        return Issuing(self.credentials.tokens.minted, self.settings, self.clock)

    @functools.cached_property
    def keys(self) -> "KeyServices":
        from shared.jobs.key_services import KeyServices

        given = (self.store, self.settings, self.clock)
        return KeyServices(ApiKeys(*given), Audit(*given), self.settings, self.clock, self._check_hook)

    async def close(self) -> None:
        """Closes all connections."""
        await self.providers.close()
        await self.storing.close()
        await self.deliveries.close()
        await self.bucket.close()
        if "verification" in vars(self):
            await self.verification.close()
        if "alerts" in vars(self):
            await self.alerts.close()
        await self.store.close()


_of_loop: "WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime]" = WeakKeyDictionary()


def current() -> Runtime:
    """Returns the running loop's runtime; builds it at the first call."""
    loop = asyncio.get_running_loop()
    runtime = _of_loop.get(loop)
    if runtime is None:
        configured, clock = settings(), SystemClock()
        store = NumberedStore(counted(open_store(configured), configured, clock), configured)
        runtime = _of_loop[loop] = Runtime(configured, store, clock)
    return runtime


def install(runtime: Runtime) -> None:
    """Makes the running loop use this runtime: for tests and benches, which have their own clock and settings."""
    _of_loop[asyncio.get_running_loop()] = runtime


def forget() -> None:
    """Drops the runtimes of all loops, and with them each connection, cache and token: for a restored function."""
    _of_loop.clear()


class Call(Authorized):
    """One call of a function: its caller, its runtime, its time budget and its follow-ups.

    Entering it authenticates the caller, and checks that the credential allows the operation. Leaving it does the
    follow-ups that scripts reported: shared/outbox/scope.py.
    """

    follow_ups: FollowUpScope

    def __init__(self, request: Request, roles: Sequence[Role], scope: Scope, about: str) -> None:
        self.runtime = current()
        self.budget = Budget.of_function(self.runtime.settings)
        super().__init__(request, self.runtime.settings)
        self._roles = roles
        self._scope = scope
        self._about = about

    def audited(self, what: str, *about: str) -> "AbstractAsyncContextManager[Act]":
        """Returns a block whose outcome the audit notes: what this caller does, about which ids."""
        return self.runtime.keys.audit.noting(self.caller.shown, what, *about)

    async def count_submits(self, user: str, jobs: int = 1) -> dict[str, str]:
        """Counts jobs that this caller submits for a user; see Rates.submit."""
        caller = self.caller
        return await self.runtime.rates.submit(caller.name, user, jobs, key_id=caller.key_id, rate=caller.submit_rate)

    async def __aenter__(self) -> "Call":
        sluice = self.runtime
        self.caller = await authenticate(
            self._request, self._roles, sluice.settings, sluice.clock.now(), sluice.credentials.caller_of
        )
        self._request.state.caller = self.caller  # for the log, if the call is refused
        # A user's flag would decide what the operator pays their collector for.
        tracing.note_caller(self._request.headers if self.caller.user is None else {})  # mutant: trace of a user
        if self.caller.role is Role.APPLICATION:
            self.caller.require(self._scope, self._request.path_params)
        is_waited_for = self.caller.role is not Role.PROVIDER
        self.follow_ups = FollowUpScope(
            sluice.outbox_worker, self.budget, about=self._about, is_waited_for=is_waited_for
        )
        await self.follow_ups.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.follow_ups.__aexit__(kind, error, trace)
        if self.runtime.sending is not None and self.budget.left >= self.runtime.settings.store_total_timeout:
            await self.runtime.sending.send_if_due(after=error)


def call(request: Request, *roles: Role, scope: Scope = Scope.MANAGE, about: str = "") -> Call:
    """Returns the call of this request, for a caller in one of these roles.

    ``scope`` is what an application's credential needs. Entering it may raise Unauthenticated, or what Caller.require
    raises. ``about`` is the id of the job or batch that the caller waits for. If the block creates that id, it sets
    ``call.follow_ups.about``.
    """
    return Call(request, roles, scope, about)
