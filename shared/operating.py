"""The part of the runtime that serves operators, with alerts: each service is made, its module loaded, at first use."""

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.alerts.alerts import Alerts
    from shared.alerts.board import Board
    from shared.budget import Budget
    from shared.cache import Cache
    from shared.clock import Clock
    from shared.config.settings import Settings
    from shared.dispatch.dispatcher import Dispatcher
    from shared.dispatch.reconciler import Reconciler
    from shared.doctor.doctor import Doctor
    from shared.jobqueue import Controls, History, JobQueue, Outbox, Overview, Records
    from shared.jobs.bulk import Bulk
    from shared.jobs.cancellation import Cancellation
    from shared.jobs.clearing import Clearing
    from shared.jobs.cursors import Cursors
    from shared.jobs.erasure import Erasure
    from shared.jobs.inspection import Inspection
    from shared.jobs.key_services import KeyServices
    from shared.jobs.limits import Limits
    from shared.jobs.settlement import Settlements
    from shared.jobs.survey import Survey
    from shared.metrics.metrics import Metrics
    from shared.outbox.worker import OutboxWorker
    from shared.statistics.folding import Folding
    from shared.statistics.sending import Sending
    from shared.statistics.statistics import Statistics
    from shared.storage.bucket import Bucket
    from shared.store import Store
    from shared.usage.report import UsageReport
    from shared.usage.usage import Usage


class OperatorServices:
    """Base of the runtime, which has the attributes that are declared here."""

    store: "Store"
    settings: "Settings"
    clock: "Clock"
    cache: "Cache"
    _cursors: "Cursors"
    sending: "Sending | None"
    queue: "JobQueue"
    records: "Records"
    bucket: "Bucket"
    controls: "Controls"
    history: "History"
    overview: "Overview"
    reconciler: "Reconciler"
    dispatcher: "Dispatcher"
    outbox: "Outbox"
    outbox_worker: "OutboxWorker"

    if TYPE_CHECKING:

        @functools.cached_property
        def keys(self) -> KeyServices: ...

        @functools.cached_property
        def cancellation(self) -> Cancellation: ...

        @functools.cached_property
        def erasure(self) -> Erasure: ...

    @functools.cached_property
    def folding(self) -> "Folding":
        from shared.statistics.folding import Folding

        return Folding(self.store, self.settings, self.clock)

    @functools.cached_property
    def statistics(self) -> "Statistics":
        from shared.statistics.statistics import Statistics

        return Statistics(self.folding, self.sending, self.store, self.settings, self.clock)

    @functools.cached_property
    def alerts(self) -> "Alerts":
        """Alerts. Built only in a deployment that has receivers."""
        from shared.alerts.alert_store import AlertStore
        from shared.alerts.alerts import Alerts
        from shared.alerts.counts import Counts

        counts = Counts(
            self.statistics if self.settings.statistics else None,
            self.usage if self.settings.commands_quota is not None else None,
        )
        store = AlertStore(self.store, self.settings, self.clock)
        return Alerts(store, self.settings, self.clock, counts=counts)

    async def watch_schedule(self, budget: "Budget") -> None:
        """Tells that no tick comes, if that is so and anyone is told of alerts; costs nothing otherwise."""
        if self.settings.has_alerts:
            await self.alerts.watch_schedule(budget)

    @functools.cached_property
    def alert_board(self) -> "Board":
        from shared.alerts.alert_store import AlertStore
        from shared.alerts.board import Board

        return Board(AlertStore(self.store, self.settings, self.clock), self.settings, self.clock)

    @functools.cached_property
    def survey(self) -> "Survey":
        from shared.jobs.survey import Survey

        return Survey(self.records, self.statistics, self.limits, self.settings, self.clock)

    @functools.cached_property
    def limits(self) -> "Limits":
        from shared.jobs.limits import Limits

        return Limits(self.controls, self.overview, self.keys.owners, self.settings, self.clock)

    @functools.cached_property
    def usage(self) -> "Usage":
        from shared.usage.usage import Usage

        return Usage(self.store, self.settings, self.clock)

    @functools.cached_property
    def usage_report(self) -> "UsageReport":
        from shared.usage.report import UsageReport

        return UsageReport(self.usage, is_counting=self.settings.count_commands)

    @functools.cached_property
    def metrics(self) -> "Metrics":
        from shared.metrics.metrics import Metrics

        statistics = self.statistics if self.settings.statistics else None
        return Metrics(self.records, self.limits, self.usage, statistics, self.cache, self.settings, self.clock)

    @functools.cached_property
    def clearing(self) -> "Clearing":
        from shared.jobqueue import Leftovers
        from shared.jobs.clearing import Clearing

        return Clearing(Leftovers(self.store, self.settings, self.clock), self.clock)

    @functools.cached_property
    def settlements(self) -> "Settlements":
        from shared.jobs.settlement import Settlements

        return Settlements(self.queue, self.records, self.reconciler, self.dispatcher)

    @functools.cached_property
    def bulk(self) -> "Bulk":
        from shared.jobs.bulk import Bulk

        return Bulk(
            self.overview, self.history, self.cancellation, self.erasure, self.dispatcher, self.cache,
            self._cursors, self.keys.owners, self.settings,
        )  # fmt: skip

    @functools.cached_property
    def inspection(self) -> "Inspection":
        from shared.jobs.inspection import Inspection

        return Inspection(self.records, self.history)

    @functools.cached_property
    def doctor(self) -> "Doctor":
        from shared.doctor.deployment import ScheduleCheck, SettingsCheck, StorageCheck, WebhookCheck
        from shared.doctor.doctor import Doctor
        from shared.doctor.queue_check import QueueCheck
        from shared.doctor.trials import ScriptCheck, StoreCheck

        store, settings, clock = self.store, self.settings, self.clock
        checks = (
            SettingsCheck(settings), StoreCheck(store, self.records, settings, clock),
            ScriptCheck(store, settings, clock), ScheduleCheck(self.records, settings, clock),
            WebhookCheck(settings, clock), StorageCheck(self.bucket, settings, clock),
        )  # fmt: skip
        queue = QueueCheck(
            store, self.queue, self.controls, self.outbox, self.dispatcher, self.outbox_worker, settings, clock
        )
        return Doctor(checks, queue)
