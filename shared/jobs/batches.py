"""Batches: up to 200 jobs of one user with one progress ("5/10"); they count as one live task."""

import json
import secrets
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from shared import tracing
from shared.budget import Budget
from shared.cache import Cache
from shared.clock import Clock
from shared.config.access import may_read
from shared.config.hooks import Event
from shared.config.limits import MAX_JOBS
from shared.config.order import Tier
from shared.config.settings import Settings
from shared.config.timing import COPY_DEADLINE
from shared.dispatch.dispatcher import Dispatcher
from shared.documents.batch import BatchDocument, batch_document
from shared.errors import BatchNotFound, ChangedMeanwhile, InvalidRequest, LookupFailed
from shared.hooks.subscription import default_place, subscription
from shared.jobqueue import BatchQueue
from shared.jobqueue.batch import BatchRecord, Policy
from shared.jobqueue.record import is_job_id
from shared.jobqueue.state import CancelWord
from shared.jobs.request import (
    MAX_METADATA,
    HookCheck,
    Id,
    MetadataText,
    Model,
    SentRequest,
    SubmitRequest,
    new_incarnation,
    queue_for,
)
from shared.log import log
from shared.outbox.scope import Scope
from shared.outbox.worker import OutboxWorker
from shared.signing.derived import batch_id_for
from shared.storage.bucket import Bucket
from shared.storage.files import gone_before

MAX_RESULTS = 50  # per page; each costs a command
MAX_TRIES = 2  # while the batch of the same key is deleted between two commands
Metadata = Annotated[dict[Id, MetadataText], Field(max_length=MAX_METADATA)]
Priority = Annotated[int, Field(ge=1, le=5)]


class BatchJob(BaseModel):
    """One job of a batch; it inherits the batch's model and priority, but not its metadata."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    input: dict[str, Any]
    model: Model | None = None
    priority: Priority | None = None
    metadata: Metadata = Field(default_factory=dict)


class BatchRequest(SentRequest):
    """The body of ``POST /api/batches``."""

    user_id: Id
    jobs: Annotated[list[BatchJob], Field(min_length=1, max_length=MAX_JOBS)]
    model: Model | None = None
    policy: Policy = "best_effort"
    tier: Tier = "free"
    priority: Priority | None = None
    queue: Annotated[str, Field(max_length=32)] = "storyboard"
    provider: Annotated[str, Field(max_length=32)] | None = None
    hook_url: Annotated[str, Field(max_length=2000)] | None = None
    hook_events: Annotated[list[Event], Field(max_length=8)] | None = None
    metadata: Metadata = Field(default_factory=dict)

    def models(self) -> set[str]:
        """Returns all models that its jobs name."""
        return {model for model in (self.model, *(job.model for job in self.jobs)) if model is not None}

    def request_of(self, job: BatchJob) -> SubmitRequest:
        """Returns the request that submits this job alone; InvalidRequest if it has no model."""
        model = job.model or self.model
        if model is None:
            raise InvalidRequest("Each job needs a model, its own or the batch's.", field="model")
        single = SubmitRequest(
            model=model,
            input=job.input,
            user_id=self.user_id,
            tier=self.tier,
            priority=job.priority or self.priority,
            queue=self.queue,
            provider=self.provider,
            metadata=job.metadata,
            # The batch sends one event at its end; its jobs send their own events only on request.
            hook_url=self.hook_url,
            hook_events=self.hook_events or [],
        )
        single._key_hook, single._key_limits = self._key_hook, self._key_limits
        return single

    def fields(self, settings: Settings, owner: str, cost: str, now: int) -> dict[str, str]:
        """Returns the batch's first fields in the store."""
        return {
            "owner": owner,
            "user": self.user_id,
            "policy": self.policy,
            "expected": str(len(self.jobs)),
            "created_at": str(now),
            "queue": self.queue,
            "metadata": json.dumps(self.metadata, separators=(",", ":"), ensure_ascii=False),
            "cost": cost,
            **subscription(settings, owner, self.hook_url, self.hook_events, of_batch=True, of_key=self._key_hook),
        }


class Batches:
    """Accepts, shows, cancels and retries batches."""

    def __init__(
        self,
        queue: BatchQueue,
        dispatcher: Dispatcher,
        cache: Cache,
        bucket: Bucket,
        worker: OutboxWorker,
        settings: Settings,
        clock: Clock,
        check_hook: HookCheck,
    ) -> None:
        self._queue = queue
        self._dispatcher = dispatcher
        self._cache = cache
        self._bucket = bucket
        self._worker = worker
        self._settings = settings
        self._clock = clock
        self._check_hook = check_hook
        self.new_incarnation = new_incarnation
        self._dispatched_at = 0

    async def create(
        self,
        caller: str,
        request: BatchRequest,
        idempotency_key: str | None,
        budget: Budget,
        *,
        by_user: str | None = None,
    ) -> BatchDocument:
        """Accepts a batch of any size in one call; returns the same batch for the same key and body.

        ``by_user`` is the user who submits with a token: the keys of each user are apart.
        """
        request_of_all = [request.request_of(job) for job in request.jobs]
        queue = queue_for(self._settings, request.queue, request.provider)
        batch_id = f"bat_{secrets.token_hex(16)}"
        if idempotency_key is not None:
            batch_id = batch_id_for(self._settings.signing_key, caller, idempotency_key, by_user)
        if request.hook_url is not None:
            await self._require_hook(caller, request.hook_url, None if idempotency_key is None else batch_id)
        now = self._clock.now()
        all_fields = [single.fields(self._settings, caller, queue, now) for single in request_of_all]
        first, cost = all_fields[0], request_of_all[0].score_and_cost(self._settings, now)[1]
        shared = {name for name in first if all(fields.get(name) == first[name] for fields in all_fields)}
        common = {name: first[name] for name in first if name in shared} | {"policy": request.policy}
        jobs = [
            # The number keeps jobs with equal scores in their order.
            (
                single.score_and_cost(self._settings, now)[0] + (0 if cost else number),
                {name: value for name, value in fields.items() if name not in shared},
            )
            for number, (single, fields) in enumerate(zip(request_of_all, all_fields, strict=True))
        ]
        fields = request.fields(self._settings, caller, cost, now)
        for _ in range(MAX_TRIES):  # mutant: batch deleted meanwhile
            # One for all jobs of the batch, also those of a retry: none of them is deleted without the batch.
            about = {"messaging.batch.message_count": len(jobs)}
            with tracing.submitting("submit batch", queue.name, batch_id, about) as span:
                common["incarnation"] = fields["incarnation"] = tracing.carried(self.new_incarnation(), span)
                created = await self._queue.create(
                    batch_id, request.fingerprint(), fields, common, jobs, cost, max_waiting=request.max_waiting
                )
                word = created.word
                span.set({"sluice.word": word})
            log.info("batch_submitted", batch=batch_id, owner=caller, user=request.user_id, jobs=len(jobs), word=word)
            if self._settings.dispatch_on_submit:
                await self._dispatch(budget)
            try:
                return batch_document(await self._queue.read(batch_id))
            except BatchNotFound:
                if word == "created":  # and deleted by now: another one would run its jobs again
                    raise
        raise ChangedMeanwhile

    async def _require_hook(self, caller: str, url: str, repeated: str | None) -> None:
        """Raises InvalidRequest and LookupFailed; ``repeated`` is the batch that the request may have made before."""
        try:
            await self._check_hook(url, caller)
        except (InvalidRequest, LookupFailed):
            # A repeat of an accepted request gets its answer, even if the host has failed since.
            if repeated is None or not await self._is_known(repeated):
                raise

    async def _is_known(self, batch_id: str) -> bool:
        try:
            await self._queue.read(batch_id)
        except BatchNotFound:
            return False
        return True

    async def view(
        self, caller: str, batch_id: str, first: int = 0, count: int = 0, *, by_user: str | None = None
    ) -> bytes:
        """Returns the caller's batch as JSON; raises BatchNotFound if it is unknown or another owner's.

        ``by_user`` reads with a token: another user's batch is not found either.
        """
        if not is_job_id(batch_id):
            raise BatchNotFound
        key = f"batch:{batch_id}:{first}:{count}"
        remembered = await self._cache.remember(
            key,
            self._settings.status_cache_ttl,
            lambda: self._load(batch_id, first, count),
            lambda view: len(view[2]),
        )
        owner, user, body = remembered.value
        if not may_read(caller, owner) or by_user not in (None, user):  # mutant: batch of another user
            raise BatchNotFound
        return body

    async def _load(self, batch_id: str, first: int, count: int) -> tuple[str, str, bytes]:
        batch = await self._queue.read(batch_id, first, count)
        now = self._clock.now()
        # Polls move a batch on without any schedule, as they do for a single job.
        patience = self._settings.waiting_check_interval * 1000
        if is_moving(batch, now) and now - max(self._dispatched_at, batch.created_at) >= patience:
            self._dispatched_at = now
            budget = Budget.of_function(self._settings)
            async with Scope(self._worker, budget, about=batch_id):
                await self._dispatch(budget, max_rounds=1)
            batch = await self._queue.read(batch_id, first, count)

        def url_of(key: str) -> str:
            return self._bucket.url(key, now)

        document = batch_document(batch, url_of, gone_before=gone_before(self._settings, now))
        # Written as ASCII, because a provider's output may hold lone surrogates, which UTF-8 cannot encode.
        return batch.owner, batch.user, json.dumps(document, separators=(",", ":")).encode()

    async def cancel(self, caller: str, batch_id: str, budget: Budget, *, by_user: str | None = None) -> CancelWord:
        """Cancels the jobs that have not ended: 'canceled', 'cancel_requested' if some run, or 'already_terminal'.

        ``by_user`` cancels with a token, which costs one read more: another user's batch is not found.
        """
        if not is_job_id(batch_id):
            raise BatchNotFound
        if by_user is not None and (await self._queue.read(batch_id)).user != by_user:  # mutant: batch to cancel
            raise BatchNotFound
        word = await self.ask_for_end(caller, batch_id)
        if word != "already_terminal":
            # Running jobs are overdue now: a dispatch cancels them at their provider, and starts others in their slots.
            await self._dispatch(budget)
        return word

    async def ask_for_end(self, caller: str, batch_id: str) -> CancelWord:
        """Ends the jobs that wait, and notes that those at a provider are to end; a dispatch asks their providers."""
        word = await self._queue.cancel(batch_id, caller)
        log.info("batch_cancel", batch=batch_id, owner=caller, word=word)
        self._forget(batch_id)
        return word

    async def retry(self, caller: str, batch_id: str, budget: Budget) -> int:
        """Creates new jobs for the failed ones, and for those that one failure has cancelled; returns their number."""
        if not is_job_id(batch_id):
            raise BatchNotFound
        batch = await self._queue.read(batch_id)
        if batch.owner != caller:
            raise BatchNotFound
        canceled_too = batch.policy == "all_or_nothing"
        hook = default_place(self._settings, caller)
        count = await self._queue.retry(
            batch_id, caller, batch.user, canceled_too=canceled_too, cost=batch.cost, hook=hook
        )
        log.info("batch_retry", batch=batch_id, owner=caller, jobs=count)
        self._forget(batch_id)
        if count:
            await self._dispatch(budget)
        return count

    async def redrive(self, owner: str, batch_id: str, job_id: str, user_queued: int, *, dry_run: bool) -> str:
        """Retries the batch of an owner's failed job for the operator; returns the id of the job that has its place."""
        hook = default_place(self._settings, owner)
        made = await self._queue.redrive(batch_id, job_id, user_queued, dry_run=dry_run, hook=hook)
        self._forget(batch_id)
        return made

    def _forget(self, batch_id: str) -> None:
        self._cache.forget_all(f"batch:{batch_id}:")
        self._cache.forget_all(f"{batch_id}_")

    async def _dispatch(self, budget: Budget, max_rounds: int = 50) -> None:
        try:
            await self._dispatcher.run(budget, max_rounds=max_rounds)
        except Exception as error:
            # The batch is in the store; a tick or a poll does the rest.
            log.exception("batch_dispatch_failed", error=type(error).__name__)


def is_moving(batch: BatchRecord, now: int) -> bool:
    """Whether work may be left for a batch: a job has not ended, or ended so recently that its files may be pending."""
    return batch.is_live or now < (batch.ended_at or 0) + COPY_DEADLINE * 1000
