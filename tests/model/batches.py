"""Batches with hooks: the real scripts in any order, checked against the invariants alone.

The moves of a batch's jobs are not modelled. The expected events follow from the store before and after each step:
which jobs ended, which batch did, and which events had been sent already.
"""

import asyncio
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.budget import Budget
from shared.clock import ManualClock
from shared.egress import Guard
from shared.errors import BatchNotFound, BelongsToBatch, JobNotFound, NoSuchEvent, NotTerminal, QueueFull
from shared.errors import UserLimitReached as Refused
from shared.hooks.address import HookAddresses
from shared.jobqueue import FollowUp, Tried
from shared.jobs.batches import BatchJob, BatchRequest
from shared.runtime import Runtime
from shared.store.memory import MemoryStore
from tests.model import outbox_invariants
from tests.model.content import content_of
from tests.model.driver import FILES, Outside
from tests.model.outbox import wants
from tests.model.state import View
from tests.model.strategies import (
    ANSWERS,
    BATCH_HOOKS,
    ENDPOINTS,
    PAUSES,
    PICKS,
    POLICIES,
    SIZES,
    SOURCES,
    WORDS,
    deployment_of,
)
from tests.world import follow_up, follow_ups_of, work_off

ENDS = ["completed", "completed", "files", "failed", "retried", "canceled"]
WANTED = {"files": "completed", "retried": "failed"}


class BatchMachine(RuleBasedStateMachine):
    """One user's batches, each with a hook or without one."""

    def __init__(self) -> None:
        super().__init__()
        self.deployment = deployment_of(max_user_tasks=3, max_user_queued=4, max_queue_size=30, circuit_failures=0)
        self.prefix = self.deployment.settings.prefix + ":"
        self.loop, self.clock, self.inner = asyncio.new_event_loop(), ManualClock(), MemoryStore()
        self.sluice = Runtime(self.deployment.settings, self.inner, self.clock)
        self.outside = Outside(self.sluice, self.kept)
        self.leased: list[tuple[FollowUp, int]] = []
        self.view, self.ends, self.made = View(), 0, 0
        self.orphans: set[str] = set()

    def run(self, work: Any) -> Any:
        try:
            return self.loop.run_until_complete(work)
        except (BatchNotFound, BelongsToBatch, JobNotFound, NoSuchEvent, NotTerminal, QueueFull, Refused):
            return None

    def kept(self) -> list[str | None]:
        return [job.get("files") for job in self.view.jobs.values()]

    def jobs(self, *states: str) -> list[str]:
        return sorted(name for name, job in self.view.jobs.items() if job["state"] in states)

    @invariant()
    def no_event_is_lost(self) -> None:
        before, view = self.view, View.of(content_of(self.inner), self.prefix)
        for name, batch in view.batches.items():
            old = before.batches.get(name, {})
            new = {part for part in batch if part.startswith("s:") and part not in old}
            has_ended = "ended_at" in batch and "ended_at" not in old
            self.ends += has_ended
            assert len(new) == (has_ended and wants(batch, "batch")), f"{name} has the events {new}"
            for part in (part for part in old if part.startswith("s:") and old[part] == "delivered"):
                assert self.redelivered or batch[part] == "delivered", f"{part} of {name} is pending again"
        assert int(view.counters.get("batches", "0")) == self.ends, "a batch has ended twice"
        outbox_invariants.hold(view, self.orphans)
        self.view, self.redelivered = view, False

    redelivered = False

    @rule(size=SIZES, policy=POLICIES, hook=st.sampled_from(["", "end", "all", "all"]))
    def create(self, size: int, policy: Any, hook: str) -> None:
        url, events = BATCH_HOOKS[hook] if hook else (None, None)
        request = BatchRequest(
            user_id="ada", model="acme/video", policy=policy, jobs=[BatchJob(input={}) for _ in range(size)],
        )  # fmt: skip
        request = request.model_copy(update={"hook_url": url, "hook_events": cast(Any, events)})
        self.sluice.hook_addresses = HookAddresses(Guard(resolver=_public))
        self.made += 1
        self.run(self.sluice.batches.create("app", request, f"key {self.made}", Budget(60)))

    @rule(want=st.integers(1, 3))
    def start(self, want: int) -> None:
        for job in self.run(self.sluice.queue.claim(want)).started:
            prediction, own = f"p-{job.id}-{job.attempt}", job.incarnation
            self.run(self.sluice.queue.record(job.id, job.attempt, prediction, incarnation=own))

    @rule(pick=PICKS, how=st.sampled_from(ENDS), count=st.integers(1, 3))
    def end(self, pick: int, how: str, count: int) -> None:
        for _ in range(count):
            running, queue = self.jobs("running"), self.sluice.queue
            if not running:
                return
            name = running[pick % len(running)]
            attempt, prediction = int(self.view.jobs[name]["attempt"]), self.view.jobs[name]["prediction"]
            own: Any = {"incarnation": self.view.jobs[name]["incarnation"]}
            if how in ("failed", "retried"):
                is_retry = how == "retried"
                self.run(queue.fail(name, attempt, prediction, code="x", detail="", retryable=is_retry, **own))
            else:
                files = {"files": f'[{{"url":"{FILES["replicate"]}","state":"pending"}}]'} if how == "files" else {}
                fields = {"output": "1", **files}
                self.run(queue.finish(name, attempt, prediction, WANTED.get(how, how), fields, **own))
            self.no_event_is_lost()

    @rule(pick=PICKS, whole=st.booleans())
    def cancel(self, pick: int, whole: bool) -> None:
        batches, live = sorted(self.view.batches), self.jobs("queued", "backlog", "running", "delayed")
        if whole and batches:
            self.run(self.sluice.batch_queue.cancel(batches[pick % len(batches)], "app"))
        elif live:
            self.run(self.sluice.queue.cancel(live[pick % len(live)], "app"))

    @rule(pick=PICKS)
    def retry(self, pick: int) -> None:
        batches = sorted(self.view.batches)
        if batches:
            name = batches[pick % len(batches)]
            self.run(self.sluice.batch_queue.retry(name, "app", "ada", canceled_too=bool(pick % 2), cost=""))

    @rule(endpoint=ENDPOINTS, source=SOURCES, handles_all=st.booleans())
    def work_off(self, endpoint: str, source: str, handles_all: bool) -> None:
        self.outside.answer, self.outside.source = ANSWERS[endpoint], source
        work = work_off if handles_all else follow_up
        self.run(work(self.sluice, Budget(60)))

    @rule(jobs=st.integers(0, 2), rows=st.integers(1, 3))
    def take(self, jobs: int, rows: int) -> None:
        """Leases the follow-ups of a process that dies, and those that another one claims."""
        dropped = follow_ups_of(self.sluice).take()
        claimed = self.run(self.sluice.outbox.claim(jobs, 2, rows))
        for row in [*dropped, *claimed[0], *(row for lane in claimed[1] for row in lane.rows)]:
            holder = outbox_invariants.holder_of(self.view, row.event, row.id)
            self.leased.append((row, int(holder.get(f"n:{row.event}", 0))))

    @precondition(lambda self: self.leased)
    @rule(pick=PICKS, word=WORDS, pause=PAUSES)
    def note(self, pick: int, word: Any, pause: int | None) -> None:
        row, tries = self.leased[pick % len(self.leased)]
        holder = outbox_invariants.holder_of(self.view, row.event, row.id)
        if row.what == "store":
            retry_at = self.clock.now() + 5000 if word == "retry" else None
            self.run(self.sluice.outbox.keep(row.id, row.turn, "[]", retry_at=retry_at))
        elif holder.get("hook_lane"):
            tried = Tried(word, self.clock.now() + pick % 400_000, '{"at":1}', pause)
            work = self.sluice.outbox.note(row, holder["hook_lane"], holder["hook_tag"], tries, tried)
            self.run(work)

    @rule(pick=PICKS)
    def redeliver(self, pick: int) -> None:
        holders = {**self.view.jobs, **self.view.batches}
        known = sorted((n, part[2:]) for n, f in holders.items() for part in f if part.startswith("s:"))
        if known:
            self.redelivered = True
            self.run(self.sluice.outbox.redeliver(*known[pick % len(known)], "app"))

    @rule(pick=PICKS, batch_too=st.booleans())
    def delete(self, pick: int, batch_too: bool) -> None:
        done = self.jobs("done")
        if done:
            self.run(self.sluice.history.delete(done[pick % len(done)], "app", batch_too=batch_too))

    @rule(pick=PICKS)
    def lose(self, pick: int) -> None:
        """Evicts a job's key and rehomes its user: its batch does not wait for it."""
        live = self.jobs("queued", "backlog", "running")
        if live and pick % 3 == 0:
            name = live[pick % len(live)]
            self.orphans.add(name)
            self.run(self.inner.execute("DEL", f"{self.prefix}j:{name}"))
            self.run(self.sluice.queue.rehome(f"{self.prefix}u:app:ada"))

    @rule(seconds=st.sampled_from([5, 35, 95, 900]))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)

    def teardown(self) -> None:
        """All jobs end, owners' endpoints recover, and after the longest wait nothing is left."""
        try:
            self.outside.answer, self.outside.source = ANSWERS["well"], "there"
            for _ in range(40):
                if self.jobs("queued", "backlog", "delayed", "submitting", "running"):
                    self.clock.advance(65)
                    self.start(3)
                    self.end(0, "completed", 3)
                    self.no_event_is_lost()
            for _ in range(3):
                self.clock.advance(30 * 3600)
                self.run(work_off(self.sluice, Budget(60)))
            self.no_event_is_lost()
            assert not self.view.outbox, f"the outbox still holds {self.view.outbox}: {self.view.lanes}"
            alive = [name for name, batch in self.view.batches.items() if "ended_at" not in batch]
            assert not alive, f"{alive} never end"
        finally:
            self.run(self.sluice.close())
            self.loop.close()


async def _public(host: str, port: int) -> list[str]:
    """Resolves every host to a public address, without the DNS."""
    return ["93.184.215.14"]
