"""Callers, providers, operators and faults in any order, as rules that hypothesis draws."""

import asyncio
import copy
import json
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from shared.budget import Budget
from shared.jobqueue import Claim, FollowUp, Tried
from shared.jobqueue.attempts import Candidacy
from shared.jobqueue.state import JobState
from shared.jobs.request import SubmitRequest
from shared.providers.base import Prediction, SubmissionOutcome
from tests.model.call import VERB_OF
from tests.model.content import Content
from tests.model.driver import FILES, FOREIGN, SOUND, Caller, Driver, Held, Leased
from tests.model.outbox import JOB_EVENTS
from tests.model.state import Model
from tests.model.strategies import (
    ACTS,
    ANSWERS,
    CALLERS,
    ENDPOINTS,
    ERRORS,
    GATES,
    HOOKS,
    MODELS,
    PAUSES,
    PICKS,
    RANKS,
    REQUESTS,
    SLOTS,
    SOURCES,
    SUBMISSIONS,
    USERS,
    WORDS,
    Request,
    outcomes,
)
from tests.world import follow_up, follow_ups_of, work_off


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
        """Submits a new job, or an earlier one again, with the same request or another.

        A job's id is its user's for good: it is made from the application's key.
        """
        name = f"job{slot}"
        request = request if conflicts else self.requests.get(name, request)
        queue, provider, rank, hook = request
        url, events = HOOKS[hook] if hook else (None, None)
        user, config = USERS[slot % len(USERS)], self.deployment.settings
        asked = SubmitRequest(
            model=MODELS[slot // len(USERS) % 2], input={"prompt": f"a lighthouse for {user}"}, user_id=user,
            queue=queue, provider=provider, priority=rank, hook_url=url, hook_events=cast(Any, events),
        )  # fmt: skip
        now = self.clock.true_now + caller.skew
        fields = asked.fields(config, "app", config.queue_list[self.deployment.names.index(queue)], now)
        score, cost = asked.score_and_cost(config, now)
        work = self.queue.enqueue(name, asked.fingerprint(), fields, score=score, cost=cost, start=start)
        admitted = self.run(work, caller)
        if admitted is not None:
            self.requests[name] = request
        if admitted is not None and admitted.word == "started":
            self.held.append(Held(name, 1))

    @rule(user=st.sampled_from([0, 1, 2]), request=REQUESTS, ranks=RANKS, start=st.booleans(), caller=CALLERS)
    def submit_several(self, user: int, request: Request, ranks: list[int], start: bool, caller: Caller) -> None:
        """One user fills the seats in one lane, and the backlog behind them."""
        queue, provider, _, hook = request
        for number, rank in enumerate(ranks):
            self.submit(user + len(USERS) * number, (queue, provider, rank, hook), start, False, caller)

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
        """All running jobs fail, again and again."""
        for error in errors:
            self.clock.advance(45)
            self.tick([], caller)
            for job in self.jobs("running"):
                self.report(job, self.attempt_of(job), Prediction("", "failed", error=error), caller)

    # Reports of the provider

    @rule(
        pick=PICKS,
        age=st.sampled_from([0, 0, 1, 2]),
        status=st.sampled_from(["completed", "failed", "canceled", "running"]),
        foreign=st.sampled_from([False, False, False, True]),
        error=st.sampled_from(ERRORS),
        caller=CALLERS,
    )
    def webhook(self, pick: int, age: int, status: Any, foreign: bool, error: str, caller: Caller) -> None:
        """The end or progress of the current or an older attempt, of its prediction or of an unrecorded one."""
        job = self.a_job(pick, "submitting", "running", "delayed")
        tried = [
            n for n in self.jobs("submitting", "running", "delayed", "queued", "backlog") if self.attempt_of(n) > age
        ]
        if age and tried:
            job = tried[pick % len(tried)]
        attempt = max(1, self.attempt_of(job) - age)
        output = [job, FILES[self.provider_of(job)] if pick % 3 else FOREIGN]
        said = Prediction("px" if foreign else "", status, output=output, error=error, progress=pick % 100)
        self.report(job, attempt, said, caller)

    @rule(pick=PICKS, is_silent=st.booleans(), caller=CALLERS)
    def poll(self, pick: int, is_silent: bool, caller: Caller) -> None:
        """The owner reads the status, which repairs; it shows the model's state."""
        job = self.a_job(pick, "running", "delayed", "queued", "backlog")
        self.be_silent(is_silent)
        self.sluice.statuses.forget(job)
        seen = self.run(self.sluice.statuses.view("app", job), caller)
        self.be_silent(False)
        assert (seen is None) == (job not in self.model.jobs)
        if seen is not None:
            known = self.model.jobs[job]
            expected = JobState(known["state"]).public or known["outcome"]
            assert json.loads(seen.value.body)["status"] == expected

    @rule(pick=PICKS, owner=st.sampled_from(["app", "app", "app", "other"]), is_silent=st.booleans(), caller=CALLERS)
    def cancel(self, pick: int, owner: str, is_silent: bool, caller: Caller) -> None:
        self.be_silent(is_silent)
        job = self.a_job(pick, "running", "submitting", "queued", "delayed", "backlog")
        self.run(self.sluice.cancellation.cancel(owner, job, Budget(60)), caller)
        self.be_silent(False)

    # Changes by operators and owners

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

    # Repairs

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
        kinds: tuple[Candidacy, ...] = ("alike", "alike", "marked", "doubtful", "named")
        listed = {known[n % len(known)]: kinds[n // 8 % len(kinds)] for n in candidates} if known else {}
        self.run(self.queue.adopt(job, self.attempt_of(job), listed), caller)

    @rule(user=st.sampled_from([*USERS, None]), pick=PICKS)
    def rehome(self, user: str | None, pick: int) -> None:
        """One user's jobs, as a poll does, or those of all users that a sweep meets."""
        if user is None:
            for key in self.run(self.sluice.records.walk(1000)).users:
                self.run(self.queue.rehome(key))
        else:
            own = [name for name in self.jobs() if self.model.jobs[name]["user"] == user]
            self.run(self.queue.rehome(self.queue.keys.user("app", user), own[: pick % 3]))

    # Follow-ups of ended jobs

    @rule(endpoint=ENDPOINTS, source=SOURCES, handles_all=st.booleans(), caller=CALLERS)
    def work_off(self, endpoint: str, source: str, handles_all: bool, caller: Caller) -> None:
        """A process handles the follow-ups of its calls, or all that is due; endpoints and sources stay so."""
        self.outside.answer, self.outside.source = ANSWERS[endpoint], source
        work = work_off if handles_all else follow_up
        self.run(work(self.sluice, Budget(60)), caller)

    @rule()
    def drop_follow_ups(self) -> None:
        """A process dies with its follow-ups, or is frozen and handles them later."""
        self.take(follow_ups_of(self.sluice).take())

    @rule(caller=CALLERS)
    def give_follow_ups_back(self, caller: Caller) -> None:
        """A call ends that does not do them; what is leased to another process is given back by mistake."""
        rows = [leased.row for leased in self.leased[-2:]] + follow_ups_of(self.sluice).take()
        if rows:
            self.run(self.sluice.outbox.release(rows), caller)

    @rule(jobs=st.integers(0, 2), lanes=st.integers(0, 2), rows=st.integers(1, 3), caller=CALLERS)
    def claim_of_the_outbox(self, jobs: int, lanes: int, rows: int, caller: Caller) -> None:
        claimed = self.run(self.sluice.outbox.claim(jobs, lanes, rows), caller)
        self.take([*claimed[0], *(row for lane in claimed[1] for row in lane.rows)])

    def take(self, rows: list[FollowUp]) -> None:
        for row in rows:
            job = self.model.jobs.get(row.id, {})
            tries = int(job.get(f"n:{row.event}", 0))
            self.leased.append(Leased(row, job.get("hook_lane", ""), job.get("hook_tag", ""), tries))

    @precondition(lambda self: self.leased)
    @rule(pick=PICKS, word=WORDS, wait=st.integers(0, 400), pause=PAUSES, caller=CALLERS)
    def act_on_a_row(self, pick: int, word: Any, wait: int, pause: int | None, caller: Caller) -> None:
        """The holder of a row notes its result, late or twice."""
        leased = self.leased[-1] if pick % 2 else self.leased[pick // 2 % len(self.leased)]
        self.note(leased, word, wait, pause, caller)

    @rule(pick=PICKS, status=st.sampled_from(["completed", "completed", "canceled", "failed"]),
          notes=st.lists(st.tuples(PICKS, WORDS, PAUSES), min_size=1, max_size=5), caller=CALLERS)  # fmt: skip
    def work_at_the_same(
        self, pick: int, status: Any, notes: list[tuple[int, Any, int | None]], caller: Caller
    ) -> None:
        """The process that ended a job freezes until another has claimed its follow-ups; then both note a result."""
        if not self.jobs("running"):
            self.run_tick([])
        for job in self.jobs("running")[:1]:
            output = [FILES[self.provider_of(job)]] if pick % 3 else ["text"]
            said = Prediction("", status, output=output, error="NSFW content")
            self.report(job, self.attempt_of(job), said, SOUND)
        self.drop_follow_ups()
        self.clock.advance(95)
        self.claim_of_the_outbox(2, 2, 3, caller)
        for which, word, pause in [*notes, *notes]:
            if self.leased:
                self.note(self.leased[-1 - which % min(4, len(self.leased))], word, which % 400, pause, caller)

    def note(self, leased: Leased, word: Any, wait: int, pause: int | None, caller: Caller) -> None:
        """The holder may know of fewer tries or turns than there were."""
        row, now = leased.row, self.clock.true_now + caller.skew
        if row.what == "store":
            retry_at = now + wait * 1000 if word == "retry" else None
            files = '[{"url":"u","state":"%s"}]' % ("pending" if retry_at else "expired")
            work: Any = self.sluice.outbox.keep(
                row.id, row.turn, files, retry_at=retry_at, is_news=wait % 2 == 1, given_up=1
            )
        elif not leased.lane:
            return
        else:
            tried = Tried(word, now + wait * 1000, f'{{"at":{now}}}', pause)
            work = self.sluice.outbox.note(row, leased.lane, leased.tag, leased.tries, tried)
        self.run(work, caller)

    @rule(pick=PICKS, event=st.sampled_from(JOB_EVENTS), owner=st.sampled_from(["app", "app", "other"]), caller=CALLERS)
    def redeliver(self, pick: int, event: str, owner: str, caller: Caller) -> None:
        known = sorted((n, e) for n, job in self.model.jobs.items() for e in JOB_EVENTS if f"s:{e}" in job)
        job, event = known[pick // 8 % len(known)] if known and pick % 8 else (self.a_job(pick, "done"), event)
        self.run(self.sluice.outbox.redeliver(job, event, owner), caller)

    @rule(pick=PICKS, owner=st.sampled_from(["app", "app", "other"]), files_too=st.booleans(), caller=CALLERS)
    def delete(self, pick: int, owner: str, files_too: bool, caller: Caller) -> None:
        job = self.a_job(pick, "done")
        was_there = job in self.model.jobs
        self.run(self.sluice.history.delete(job, owner, files_too=files_too), caller)
        if was_there and job not in self.model.jobs:
            self.store.lives[job] += 1  # attempts of the next job under this id count from 1 again

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
            excused.ghosts |= {name, f"!{name}", f"%{name}"}
            excused.orphans.add(name)
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
        """A failover: the store returns to an earlier state, and nothing else does."""
        content, model = self.snapshots[pick % len(self.snapshots)]
        self.store.model = copy.deepcopy(model)
        self.run(self.store.put_back(content))
        self.store.look_again()

    @rule(seconds=st.sampled_from([5, 20, 45, 95, 900]))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
