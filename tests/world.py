"""A whole deployment inside a test: real scripts, a real store, a manual clock, a scripted provider."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from local.rest_server.running import RunningServer
from shared import runtime
from shared.budget import Budget
from shared.clock import Clock, ManualClock
from shared.config.settings import Settings
from shared.documents.job import Explanation, JobDocument, job_document
from shared.egress import Guard
from shared.hooks.address import HookAddresses
from shared.jobqueue import Admitted, Collector, FollowUp
from shared.jobqueue.constants import ALARMS, BAND
from shared.jobqueue.record import JobRecord
from shared.jobqueue.script import VERBS, script
from shared.jobs.request import SubmitRequest
from shared.outbox.scope import Scope
from shared.providers.base import (
    Accepted,
    Found,
    Prediction,
    PredictionGone,
    Provider,
    ProviderUnavailable,
    Submission,
    SubmissionOutcome,
    Wanted,
)
from shared.runtime import Runtime
from shared.store import open_store
from shared.usage import counted

API_KEY = "key-of-the-app-in-tests"
AUTH = {"Authorization": f"Bearer {API_KEY}"}
OTHER_AUTH = {"Authorization": "Bearer key-of-another-app-in-tests"}
OPERATOR = {"Authorization": "Bearer operator-token-in-tests"}
METRICS = {"Authorization": "Bearer metrics-token-in-tests"}
PROCESSOR = {"Authorization": "Bearer processor-token-in-tests"}


def settings_for(server: RunningServer | None, **changes: Any) -> Settings:
    """Test settings on a server, or in memory mode without one."""
    values: dict[str, Any] = {
        "sluice_env": "test", "use_redis_for_tasks": server is not None, "replicate_account_is_own": True,
    }  # fmt: skip
    if server is not None:
        values |= {"upstash_redis_rest_url": server.url, "upstash_redis_rest_token": server.token}
    return Settings(**(values | changes))


def load_scripts(server: RunningServer) -> None:
    """Makes the store know all scripts, as it does in production once each of them has run."""
    for verb in VERBS:
        server.ask("SCRIPT", "LOAD", script(verb).text)


@dataclass
class ObedientProvider:
    """Creates, reports and cancels predictions as a test sets, and counts its calls."""

    name: str = "replicate"
    created: list[Submission] = field(default_factory=list)
    outcomes: list[SubmissionOutcome] = field(default_factory=list)  # of the next creates; accepted when none is left
    states: dict[str, Prediction] = field(default_factory=dict)
    canceled: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    findable: list[str] = field(default_factory=list)  # what its list has of every wanted submission
    looked_for: list[Wanted] = field(default_factory=list)
    is_list_complete: bool = True
    is_silent: bool = False

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        self.created.append(submission)
        if self.outcomes:
            return self.outcomes.pop(0)
        prediction = Prediction(f"p{len(self.created)}", "running")
        self.states[prediction.id] = prediction
        return Accepted(prediction)

    async def get(self, prediction_id: str, timeout: float) -> Prediction:
        self.asked.append(prediction_id)
        if self.is_silent:
            raise ProviderUnavailable("silent")
        if prediction_id not in self.states:
            raise PredictionGone
        return self.states[prediction_id]

    async def cancel(self, prediction_id: str, timeout: float) -> Prediction | None:
        self.canceled.append(prediction_id)
        if self.is_silent:
            return None
        self.states[prediction_id] = Prediction(prediction_id, "canceled")
        return self.states[prediction_id]

    async def find(self, wanted: Wanted, timeout: float) -> Found:
        self.looked_for.append(wanted)
        if self.is_silent:
            raise ProviderUnavailable("silent")
        return Found(alike=tuple(self.findable), is_complete=self.is_list_complete)

    def read_headers(self, headers: Mapping[str, str], now: int) -> None:
        """Accepts any."""

    def verify(self, headers: Mapping[str, str], body: bytes, now: int) -> None:
        """Accepts every webhook."""

    def read_webhook(self, body: bytes) -> Prediction:
        return self.states[body.decode()]

    async def close(self) -> None:
        """Does nothing."""


@dataclass
class World:
    """The parts of one deployment, for a test to drive."""

    runtime: Runtime
    provider: ObedientProvider
    clock: Clock
    server: RunningServer | None
    changes: dict[str, Any] = field(default_factory=dict)  # of the settings, against those of all tests
    submitted: int = 0

    @property
    def manual(self) -> ManualClock:
        assert isinstance(self.clock, ManualClock)
        return self.clock

    async def enqueue(self, user: str = "ada", *, start: bool = False, job_id: str = "", **changes: Any) -> str:
        """Enqueues a job through the queue's own verb; returns its id."""
        job_id = job_id or f"job_{self.submitted}"
        self.submitted += 1
        await self.admit(job_id, user, start=start, **changes)
        return job_id

    async def admit(
        self, job_id: str, user: str = "ada", *, start: bool = False, owner: str = "app", **changes: Any
    ) -> Admitted:
        settings = self.runtime.settings
        asked = {"model": "acme/video", "input": {"prompt": "a lighthouse"}} | changes
        request = SubmitRequest(user_id=user, **asked)
        queue = next(q for q in settings.queue_list if q.name == request.queue)
        now = self.clock.now()
        score, cost = request.score_and_cost(settings, now)
        return await self.runtime.queue.enqueue(
            job_id,
            request.fingerprint(),
            request.fields(settings, owner, queue, now),
            score=score,
            cost=cost,
            start=start,
        )

    async def incarnation_of(self, job_id: str) -> str:
        """That of a job which was submitted; '' of one that a test has enqueued."""
        return await self.raw("HGET", self.runtime.queue.keys.job(job_id), "incarnation") or ""

    def another_process(self, **changes: Any) -> Runtime:
        """A further process of this deployment, with these settings changed; it serves all calls from now on."""
        settings = settings_for(self.server, **self.changes | changes)
        providers = {name: self.runtime.providers[name] for name in self.runtime.settings.provider_names}
        further = Runtime(settings, self.runtime.store, self.clock, providers=providers)
        further.hook_addresses = self.runtime.hook_addresses
        runtime.install(further)
        self.runtime = further
        return further

    def follow_ups(self) -> list[FollowUp]:
        """Drops and returns the pending follow-ups, like a process that dies before it handles them."""
        return follow_ups_of(self.runtime).take()

    async def follow_up(self, budget: Budget | None = None) -> None:
        """See the function of this name."""
        await follow_up(self.runtime, budget or Budget(50))

    async def work_off(self, budget: Budget | None = None) -> int:
        """See the function of this name."""
        return await work_off(self.runtime, budget or Budget(50))

    async def indexed(self) -> int:
        """How many jobs the index holds, without the history, which outlives them."""
        return int(await self.raw("ZCOUNT", self.runtime.queue.keys.index, "0", f"({ALARMS * BAND}"))

    async def raw(self, *command: str) -> Any:
        """Executes a command on the store, past the queue."""
        return await self.runtime.store.execute(*command)


def follow_ups_of(sluice: Runtime) -> Collector:
    """The follow-ups of the verbs that the test has called itself."""
    return sluice.outbox.follow_ups.collector


async def follow_up(sluice: Runtime, budget: Budget) -> None:
    """Handles the follow-ups, as a webhook does."""
    outside = follow_ups_of(sluice)
    async with Scope(sluice.outbox_worker, budget, is_waited_for=False):
        inside = follow_ups_of(sluice)
        inside.is_more, outside.is_more = outside.is_more, False
        for row in outside.take():
            inside.add(row)


async def work_off(sluice: Runtime, budget: Budget) -> int:
    """Works off the due rows of the outbox, as a tick does; returns how many it took."""
    async with Scope(sluice.outbox_worker, budget, is_waited_for=False, looks=False):
        return await sluice.outbox_worker.run(budget)


def shown(job: JobRecord) -> JobDocument:
    """The job as its owner sees it, without the explanation of its wait."""
    nothing: Explanation = {
        "queue_position": None,
        "waiting_reason": None,
        "eta_seconds": None,
        "eta_p90_seconds": None,
    }
    return job_document(job, nothing, str)


async def resolve_in_tests(host: str, port: int) -> list[str]:
    """Knows example.com at a public address, this machine, and no other: no test asks the DNS."""
    known = {"example.com": ["93.184.215.14"], "localhost": ["127.0.0.1"], "127.0.0.1": ["127.0.0.1"], "::1": ["::1"]}
    if host not in known:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return known[host]


@asynccontextmanager
async def make_world(
    server: RunningServer | None, clock: Clock, brings: Mapping[str, Provider] | None = None, /, **changes: Any
) -> AsyncIterator[World]:
    """A world on an emptied store. Its Replicate is scripted, unless ``brings`` names other providers."""
    if server is not None:
        server.clear_faults()
        server.flush()
    settings = settings_for(server, **changes)
    provider = ObedientProvider()
    store = counted(open_store(settings), settings, clock)
    made = Runtime(settings, store, clock, providers={"replicate": provider} | dict(brings or {}))
    made.hook_addresses = HookAddresses(Guard(settings.allow_loopback, resolver=resolve_in_tests))
    runtime.install(made)
    try:
        yield World(made, provider, clock, server, changes)
    finally:
        await made.close()


@asynccontextmanager
async def http_client(**headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the composed application in this process; tests/contract.py checks its answers."""
    from functions.index import app
    from tests.contract import CheckedTransport

    transport = CheckedTransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://sluice.test", headers=headers) as client:
        yield client
