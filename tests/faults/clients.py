"""The steps of clients and the operator, each done as its function does it."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from shared.budget import Budget
from shared.config.hooks import Event
from shared.config.settings import Settings
from shared.errors import (
    BatchNotFound,
    JobNotFound,
    NoSuchEvent,
    NotFailed,
    NotTerminal,
    StorageUnavailable,
    StoreUncertain,
    UserLimitReached,
)
from shared.hooks.delivery_log import JobRedelivery
from shared.jobs.batches import BatchJob, BatchRequest
from shared.jobs.limits import LimitsChange, UserLimit
from shared.jobs.request import SubmitRequest
from shared.outbox.scope import Scope
from shared.runtime import Runtime
from shared.signing.derived import batch_id_for, job_id_for, redriven_id
from tests.faults.scenario import Scenario, Step

CALLER = "app"
MODEL = "acme/video"
READS = ("poll", "poll_batch")  # which clients do not repeat
ROUNDS = 3  # of a batch's jobs; the first, and the retries with a name
# Errors after which a client tries again.
REFUSALS = (
    StoreUncertain, StorageUnavailable, JobNotFound, BatchNotFound, NotFailed, NotTerminal, NoSuchEvent,
    UserLimitReached,
)  # fmt: skip
OF_ONE = (  # verbs about one job or batch
    "submit", "cancel", "redrive", "redeliver", "submit_batch", "cancel_batch", "retry_batch",
)  # fmt: skip
HOOK = "https://owner.test/hook"

Act = Callable[[Runtime], Coroutine[Any, Any, Any]]


class Clients:
    """Knows the ids of a scenario's works and runs its steps."""

    def __init__(self, scenario: Scenario, settings: Settings) -> None:
        self._scenario = scenario
        self._settings = settings
        key = settings.signing_key
        batched = {name for batch in scenario.batches.values() for name in batch.works}
        self._batches = {name: batch_id_for(key, CALLER, name) for name in scenario.batches}
        self.ids = {
            name: job_id_for(key, CALLER, name) for name in scenario.works if name not in batched and "~" not in name
        }
        for name, batch in scenario.batches.items():
            for number, work in enumerate(batch.works):
                self.ids[work] = f"{self._batches[name]}_{number}"
                for n in range(1, ROUNDS):
                    self.ids[f"{work}~{n}"] = f"{self._batches[name]}_{number}r{n}"
        self.ids |= {f"{name}~redriven": redriven_id(key, job_id, life(0)) for name, job_id in self.ids.items()}
        self.names = {self.ids[name]: name for name in scenario.works}
        # A second retry goes as the first one.
        again = {name: f"{name.partition('~')[0]}~1" for name in self.ids if name[-2:-1] == "~"}
        self.names |= {self.ids[name]: first for name, first in again.items() if first in scenario.works}

    def act(self, step: Step) -> Act:
        """Returns what a step does, for its own process."""

        async def act(runtime: Runtime) -> Any:
            budget = Budget.of_function(self._settings)
            about = self._of(step) if step.verb in OF_ONE else ""
            async with Scope(runtime.outbox_worker, budget, about=about):
                answer = await getattr(self, f"_{step.verb}")(runtime, step, budget)
            return answer

        return act

    def _of(self, step: Step) -> str:
        """Returns the id of the job or batch that a step is about."""
        of = self._batches[step.of] if step.of in self._batches else self.ids[step.of]
        return redriven_id(self._settings.signing_key, of, life(0)) if step.verb == "redrive" else of

    async def _submit(self, runtime: Runtime, step: Step, budget: Budget) -> Any:
        work = self._scenario.works[step.of]
        given = {"prompt": work.prompt or step.of}
        request = SubmitRequest(model=MODEL, input=given, user_id=work.user, queue=work.queue, **_hook(work.events))
        return await runtime.admission.submit(CALLER, request, step.of, budget)

    async def _cancel(self, runtime: Runtime, step: Step, budget: Budget) -> Any:
        return await runtime.cancellation.cancel(CALLER, self.ids[step.of], budget)

    async def _poll(self, runtime: Runtime, step: Step, _: Budget) -> Any:
        return await runtime.statuses.view(CALLER, self.ids[step.of])

    async def _redrive(self, runtime: Runtime, step: Step, budget: Budget) -> Any:
        return await runtime.redrive.retry(CALLER, self.ids[step.of], budget)

    async def _redeliver(self, runtime: Runtime, step: Step, _: Budget) -> Any:
        await runtime.delivery_log.redeliver_of_job(CALLER, self.ids[step.of], JobRedelivery())
        return True

    async def _delete(self, runtime: Runtime, step: Step, budget: Budget) -> Any:
        await runtime.erasure.delete_job(CALLER, self.ids[step.of], budget)
        return True

    async def _erase(self, runtime: Runtime, step: Step, budget: Budget) -> Any:
        return await runtime.erasure.erase_user(CALLER, step.of, budget, cancel=True)

    async def _reprioritize(self, runtime: Runtime, step: Step, _: Budget) -> Any:
        return await runtime.controls.reprioritize(self.ids[step.of], CALLER, step.value or 1)

    async def _limit(self, runtime: Runtime, step: Step, budget: Budget) -> Any:
        change = LimitsChange(system=step.value) if step.of == "system" else LimitsChange(queues={step.of: step.value})
        shown = await runtime.limits.change(change)
        await runtime.dispatcher.run(budget)
        return shown

    async def _limit_user(self, runtime: Runtime, step: Step, budget: Budget) -> Any:
        user = UserLimit(key=CALLER, user_id=step.of, concurrency=step.value)
        shown = await runtime.limits.change(LimitsChange(users=[user]))
        await runtime.dispatcher.run(budget)
        return shown

    async def _submit_batch(self, runtime: Runtime, step: Step, budget: Budget) -> Any:
        batch, works = self._scenario.batches[step.of], self._scenario.works
        jobs = [BatchJob(input={"prompt": works[name].prompt or name}) for name in batch.works]
        request = BatchRequest(
            user_id=batch.user, jobs=jobs, model=MODEL, policy=batch.policy, queue=batch.queue, **_hook(batch.events)
        )
        return await runtime.batches.create(CALLER, request, step.of, budget)

    async def _cancel_batch(self, runtime: Runtime, step: Step, budget: Budget) -> Any:
        return await runtime.batches.cancel(CALLER, self._batches[step.of], budget)

    async def _retry_batch(self, runtime: Runtime, step: Step, budget: Budget) -> Any:
        return await runtime.batches.retry(CALLER, self._batches[step.of], budget)

    async def _poll_batch(self, runtime: Runtime, step: Step, _: Budget) -> Any:
        return await runtime.batches.view(CALLER, self._batches[step.of])


def life(number: int) -> str:
    """Returns the incarnation of a job that is submitted after so many deletions; a run must not depend on chance."""
    return f"life{number}"


def _hook(events: Sequence[Event]) -> dict[str, Any]:
    """Returns a request's hook fields."""
    return {"hook_url": HOOK, "hook_events": list(events)} if events else {}
