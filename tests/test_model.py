"""The queue's verbs against a plain model of them, under what a store, callers and providers can do to each other.

The real scripts run on memory mode's engine. Every EVAL, whoever sends it, is judged: its reply must be the model's,
the whole store must be what the model says, and the invariants must hold. So the machine's rules may use single verbs
as well as the tick, the polls and the cancellations of production. See tests/model for the model, and its invariants
for what a fault excuses.
"""

import asyncio
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from shared.budget import Budget
from shared.job import PUBLIC_STATUS
from shared.jobqueue import Claim
from shared.providers.base import Prediction, SubmissionOutcome
from shared.submission import SubmitRequest
from tests.model.call import VERB_OF
from tests.model.content import Content
from tests.model.driver import SOUND, Caller, Driver, Held
from tests.model.state import Model
from tests.model.strategies import (
    ACTS,
    CALLERS,
    DEPLOYMENTS,
    ERRORS,
    GATES,
    MODELS,
    PICKS,
    RANKS,
    REQUESTS,
    SLOTS,
    SUBMISSIONS,
    USERS,
    Request,
    outcomes,
)


class QueueMachine(Driver):
    """Callers, providers, operators and faults in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[str, Request] = {}
        self.snapshots: list[tuple[Content, Model]] = []

    # Submitting

    @initialize(requests=st.lists(REQUESTS, min_size=1, max_size=12))
    def some_jobs(self, requests: list[Request]) -> None:
        for slot, request in enumerate(requests):
            self.submit(slot, request, False, False, SOUND)

    @rule(slot=SLOTS, request=REQUESTS, start=st.booleans(), conflicts=st.booleans(), caller=CALLERS)
    def submit(self, slot: int, request: Request, start: bool, conflicts: bool, caller: Caller) -> None:
        """A new job, or again one that was submitted before, with the same request or another.

        A job's id is its user's for good: it is made from his application's key.
        """
        name = f"job{slot}"
        request = request if conflicts else self.requests.get(name, request)
        queue, provider, rank = request
        user, config = USERS[slot % len(USERS)], self.deployment.settings
        asked = SubmitRequest(
            model=MODELS[slot // len(USERS) % 2], input={"prompt": f"a lighthouse for {user}"}, user_id=user,
            queue=queue, provider=provider, priority=rank,
        )  # fmt: skip
        now = self.clock.true_now + caller.skew
        fields = asked.fields(config, "app", config.queue_list[self.deployment.names.index(queue)], now)
        score, cost = asked.standing(config, now)
        work = self.queue.enqueue(name, asked.fingerprint(), fields, score=score, cost=cost, start=start)
        admitted = self.run(work, caller)
        if admitted is not None:
            self.requests[name] = request
        if admitted is not None and admitted.word == "started":
            self.held.append(Held(name, 1))

    @rule(user=st.sampled_from([0, 1, 2]), request=REQUESTS, ranks=RANKS, start=st.booleans(), caller=CALLERS)
    def submit_several(self, user: int, request: Request, ranks: list[int], start: bool, caller: Caller) -> None:
        """One user fills his seats in one lane, and what is behind them."""
        queue, provider, _ = request
        for number, rank in enumerate(ranks):
            self.submit(user + len(USERS) * number, (queue, provider, rank), start, False, caller)

    @rule(want=st.integers(1, 3), requests=st.sampled_from([1, 1, 2]), tick=st.booleans(), caller=CALLERS)
    def claim(self, want: int, requests: int, tick: bool, caller: Caller) -> None:
        """One request of a process claims, or two at once: no job is handed to both."""

        async def at_once() -> list[Claim]:
            return await asyncio.gather(*(self.queue.claim(want, tick=tick) for _ in range(requests)))

        claims = self.run(at_once(), caller)
        taken = [Held(job.id, job.attempt, job.probe) for claim in claims for job in claim.started]
        assert len(taken) == len({claim.job for claim in taken}), f"two requests of one process were given {taken}"
        self.held += taken

    @precondition(lambda self: self.held)
    @rule(pick=PICKS, how=ACTS, caller=CALLERS)
    def act_on_a_claim(self, pick: int, how: str, caller: Caller) -> None:
        """The newest claim more often than older ones, which may be stale by now; each may be acted on again."""
        self.act(self.held[-1] if pick % 2 else self.held[pick // 2 % len(self.held)], how, caller)

    @precondition(lambda self: self.held)
    @rule(pick=PICKS, created=st.booleans())
    def crash(self, pick: int, created: bool) -> None:
        """A caller dies with its claim, before or after the provider created the prediction."""
        claim = self.held.pop(pick % len(self.held))
        if created:
            self.prediction_of(claim.job, claim.attempt)

    @precondition(lambda self: self.held)
    @rule(pick=PICKS, meanwhile=st.tuples(SUBMISSIONS, SUBMISSIONS), hows=st.tuples(ACTS, ACTS, ACTS), caller=CALLERS)
    def pause(
        self, pick: int, meanwhile: tuple[list[SubmissionOutcome], ...], hows: tuple[str, ...], caller: Caller
    ) -> None:
        """A caller is frozen with its claim until others have tried the job, mostly more than once, and then acts."""
        lost = [claim for claim in self.held if self.is_current(claim)] or self.held
        claim = lost[pick % len(lost)]
        for provider in self.providers.values():
            provider.lists = False  # or what was lost would be adopted, and not tried again
        for answers in meanwhile:
            adoption = int(self.model.jobs.get(claim.job, {}).get("adoption", 0))
            self.clock.advance((self.deployment.lease + adoption) / 1000 + 1)
            self.tick(answers, SOUND)
        for provider in self.providers.values():
            provider.lists = True
        for how in hows:
            self.act(claim, how, caller)

    @rule(errors=st.lists(st.sampled_from(ERRORS), min_size=1, max_size=3), caller=CALLERS)
    def bad_day(self, errors: list[str], caller: Caller) -> None:
        """Whatever runs fails, again and again."""
        for error in errors:
            self.clock.advance(45)
            self.tick([], caller)
            for job in self.jobs("running"):
                self.tell(job, self.attempt_of(job), Prediction("", "failed", error=error), caller)

    # What the provider says

    @rule(
        pick=PICKS,
        age=st.sampled_from([0, 0, 1, 2]),
        status=st.sampled_from(["completed", "failed", "canceled", "running"]),
        foreign=st.sampled_from([False, False, False, True]),
        error=st.sampled_from(ERRORS),
        caller=CALLERS,
    )
    def webhook(self, pick: int, age: int, status: Any, foreign: bool, error: str, caller: Caller) -> None:
        """The end or progress of the current or an older attempt, of its prediction or of one nobody has recorded."""
        job = self.a_job(pick, "submitting", "running", "delayed")
        tried = [
            n for n in self.jobs("submitting", "running", "delayed", "queued", "backlog") if self.attempt_of(n) > age
        ]
        if age and tried:
            job = tried[pick % len(tried)]
        attempt = max(1, self.attempt_of(job) - age)
        said = Prediction("px" if foreign else "", status, output=[job], error=error, progress=pick % 100)
        self.tell(job, attempt, said, caller)

    @rule(pick=PICKS, is_silent=st.booleans(), caller=CALLERS)
    def poll(self, pick: int, is_silent: bool, caller: Caller) -> None:
        """The owner reads the status, which repairs; what it shows is what the model says."""
        job = self.a_job(pick, "running", "delayed", "queued", "backlog")
        self.be_silent(is_silent)
        self.sluice.statuses.forget(job)
        seen = self.run(self.sluice.statuses.view("app", job), caller)
        self.be_silent(False)
        assert (seen is None) == (job not in self.model.jobs)
        if seen is not None:
            known = self.model.jobs[job]
            expected = {**PUBLIC_STATUS, "done": known.get("outcome")}[known["state"]]
            assert json.loads(seen.value.body)["status"] == expected

    @rule(pick=PICKS, owner=st.sampled_from(["app", "app", "app", "other"]), is_silent=st.booleans(), caller=CALLERS)
    def cancel(self, pick: int, owner: str, is_silent: bool, caller: Caller) -> None:
        self.be_silent(is_silent)
        job = self.a_job(pick, "running", "submitting", "queued", "delayed", "backlog")
        self.run(self.sluice.cancellation.cancel(owner, job, Budget(60)), caller)
        self.be_silent(False)

    # What operators and owners turn

    @precondition(lambda self: self.deployment.turns_limits)
    @rule(gates=GATES, caller=CALLERS)
    def limit(self, gates: dict[str, int | None], caller: Caller) -> None:
        self.run(self.controls.set_gates(gates), caller)

    @rule(user=st.sampled_from(USERS), concurrency=st.sampled_from([0, 1, 2, 3, None]), caller=CALLERS)
    def limit_user(self, user: str, concurrency: int | None, caller: Caller) -> None:
        self.run(self.controls.limit_user("app", user, concurrency), caller)

    @rule(pick=PICKS, owner=st.sampled_from(["app", "app", "other"]), priority=st.integers(1, 5), caller=CALLERS)
    def reprioritize(self, pick: int, owner: str, priority: int, caller: Caller) -> None:
        job = self.a_job(pick, "queued", "backlog", "delayed")
        self.run(self.controls.reprioritize(job, owner, priority), caller)

    # What brings things back

    @rule(outcomes=outcomes(), caller=CALLERS)
    def tick(self, outcomes: list[SubmissionOutcome], caller: Caller) -> None:
        self.run_tick(outcomes, caller)

    @rule(pick=PICKS, caller=CALLERS)
    def expire(self, pick: int, caller: Caller) -> None:
        """As a claim's caller does, also late; one that waits also before its time, as after a failover."""
        waiting = self.jobs("queued", "delayed", "backlog")
        over = [n for n in self.jobs() if n in waiting or self.model.jobs[n]["expire_at"] <= self.clock.true_now]
        if over:
            self.run(self.queue.expire(over[pick % len(over)]), caller)

    @rule(pick=PICKS, candidates=st.lists(PICKS, max_size=3), caller=CALLERS)
    def adopt(self, pick: int, candidates: list[int], caller: Caller) -> None:
        """A lost submission, and what the provider's list shows: predictions of this job or of others alike."""
        job = self.a_job(pick, "submitting")
        known = sorted(self.predictions)
        listed = sorted({known[n % len(known)] for n in candidates}) if known else []
        self.run(self.queue.adopt(job, self.attempt_of(job), listed), caller)

    @rule(user=st.sampled_from([*USERS, None]), pick=PICKS)
    def rehome(self, user: str | None, pick: int) -> None:
        """One user's jobs, as a poll does, or those of all users that a sweep meets."""
        if user is None:
            for key in self.run(self.sluice.records.walk_users(1000)):
                self.run(self.queue.rehome(key))
        else:
            own = [name for name in self.jobs() if self.model.jobs[name]["user"] == user]
            self.run(self.queue.rehome(self.queue.keys.user("app", user), own[: pick % 3]))

    # Faults

    @precondition(lambda self: self.store.sent)
    @rule(back=st.integers(0, 5))
    def repeat(self, back: int) -> None:
        """A script is sent again as it was, after others and after faults; the judge sees to what it does."""
        command, _ = self.store.sent[-1 - back % len(self.store.sent)]
        reply = self.run(self.store.execute(*command))
        if VERB_OF[command[1]] == "claim":
            self.held += [Held(row[0], int(row[1]), row[9]) for row in reply[0]]

    @rule(what=st.sampled_from(["job", "user", "index"]), pick=PICKS)
    def evict(self, what: str, pick: int) -> None:
        """The store loses a key: a job, a user's set or the index."""
        model, excused = self.model, self.model.relaxed
        if what == "job" and model.jobs:
            name = sorted(model.jobs)[pick % len(model.jobs)]
            self.store.lives[name] += 1
            excused.unpromoted.add(f"app:{model.jobs.pop(name)['user']}")
            excused.ghosts |= {name, f"!{name}"}
            excused.strays |= {(user, name) for user, members in model.sets.items() if name in members}
            self.lose(self.queue.keys.job(name))
        elif what == "user":
            user = USERS[pick % len(USERS)]
            excused.unset |= set(model.sets.pop(f"app:{user}", {})) & model.live
            excused.unpromoted.add(f"app:{user}")
            self.lose(self.queue.keys.user("app", user))
        elif what == "index":
            excused.unindexed |= model.live
            excused.unalarmed |= model.live
            model.index.clear()
            self.lose(self.queue.keys.index)

    @rule()
    def take_a_snapshot(self) -> None:
        self.snapshots = [*self.snapshots[-2:], (self.store.content(), copy.deepcopy(self.model))]

    @precondition(lambda self: self.snapshots)
    @rule(pick=PICKS)
    def restore(self, pick: int) -> None:
        """A failover: the store is what it was a while ago, and nobody else is."""
        content, model = self.snapshots[pick % len(self.snapshots)]
        self.store.model = copy.deepcopy(model)
        self.run(self.store.put_back(content))
        self.store.look_again()

    @rule(seconds=st.sampled_from([5, 20, 45, 95, 900]))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def quiet_logs() -> Iterator[None]:
    """Nothing is written to the log: the faults here would fill it."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("quiet_logs")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_verbs_do_what_the_model_says_and_every_job_ends(name: str) -> None:
    machine = type("Machine", (QueueMachine,), {"deployment": DEPLOYMENTS[name]})
    run_state_machine_as_test(
        machine,
        settings=settings(
            derandomize=True,
            stateful_step_count=30,
            max_examples=120,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
