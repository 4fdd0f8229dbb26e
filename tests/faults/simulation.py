"""One run: the events in order, each in its own process, and the invariants after every I/O.

Every submit, tick, webhook, poll and cancel has its own runtime on the shared store, unless instances are kept. Events
happen one after the other. Two processes overlap if one is frozen, or if a webhook overtakes a create. Duplicate
webhooks arrive at one instance at the same time. True time does not advance while a process runs.
"""

import asyncio
import heapq
import math
import random
from collections.abc import Awaitable, Callable
from typing import Any

from shared.budget import Budget
from shared.clock import ManualClock
from shared.config.settings import Settings
from shared.dispatch.tick import SWEEP_EVERY
from shared.errors import StoreUnavailable
from shared.outbox.scope import Scope
from shared.runtime import Runtime
from shared.storage import layout
from shared.storage.files import read_files
from tests.faults.books import Books, Outcome
from tests.faults.clients import CALLER, READS, REFUSALS, Clients, life
from tests.faults.engines import Engine
from tests.faults.error_log import unexpected_errors
from tests.faults.instance import Instance
from tests.faults.patience import ticks_until_quiet
from tests.faults.plan import Crash, Fault, FaultPlan
from tests.faults.process import Process
from tests.faults.provider import RETRIES, FakeProvider
from tests.faults.scenario import Scenario, Step, WebhookMode, Work
from tests.invariants import Limits, Made, State, at_rest, check, ends_kept, final, referred, spend
from tests.world import settings_for

START = 1_800_000_000_000 - 60_000  # ms; the first tick comes at a full quarter of an hour, so it sweeps
TIMING: dict[str, Any] = {
    "public_base_url": "https://sluice.test", "cancel_after": 240.0, "queue_max_retries": 2,
    "queue_retry_delay": 40_000, "max_concurrent_tasks": 2,
}  # fmt: skip
PATIENCE = (5.0, 30.0, 200.0)  # s until a client without an answer tries again
MAX_DURATION = 6 * 3_600_000  # ms; of any simulation
MAX_DELIVERY_TIME = 5 * 86_400_000  # ms; of a simulation whose owner never answers


def settings_of(scenario: Scenario) -> Settings:
    """Returns the defaults with a short deadline of predictions, so that an adoption window is a few ticks long."""
    return settings_for(None, **(TIMING | scenario.settings))


class Simulation:
    """A deployment with its clients, its schedule and its provider."""

    def __init__(
        self,
        scenario: Scenario,
        mode: WebhookMode,
        plan: FaultPlan,
        engine: Engine,
        settings: Settings,
        books: Books | None = None,
        *,
        is_warm: bool = False,
    ) -> None:
        self.scenario = scenario
        self.mode = mode
        self.plan = plan
        self.settings = settings
        self.books = books or self._new_books()
        self._clients = Clients(scenario, settings)
        self.names = self._clients.names
        self._engine = engine
        self._clock = ManualClock()
        self._limits = Limits.of(settings)
        self._provider = FakeProvider(self, self._overtake)
        self._is_warm = is_warm
        self._idle: list[Instance] = []
        self._frozen: set[Process] = set()
        self._overtaking: set[asyncio.Task[None]] = set()
        self._max_ticks = ticks_until_quiet(
            settings, len(scenario.works), scenario.width, scenario.troubles, scenario.refusals
        )
        if any(fault.kind == "stop" for fault in plan.faults):
            self._max_ticks += round(SWEEP_EVERY / settings.tick_period) + 1
        self._is_reachable = scenario.endpoint[-1] == "ok"
        self._max_duration = MAX_DURATION if self._is_reachable else MAX_DELIVERY_TIME

    @property
    def is_between(self) -> bool:
        """Whether no process is active, so that the books are the whole state."""
        return not self._frozen

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do, or it takes too long."""
        books = self.books
        is_late = books.outcome.ticks > self._max_ticks or books.now > START + self._max_duration
        return is_late or not (books.events or books.state.live or books.state.outbox or self._traces())

    async def step(self) -> None:
        """Runs the next event or the next tick, whichever is earlier."""
        books = self.books
        is_tick = not books.events or books.next_tick <= books.events[0][0]
        books.now = self._clock.true_now = max(books.now, books.next_tick if is_tick else books.events[0][0])
        random.seed(books.now)
        if is_tick:
            await self._tick()
        else:
            name, *details = heapq.heappop(books.events)[2]
            await getattr(self, f"_{name}")(*details)
        while self._overtaking:
            overtaking, self._overtaking = self._overtaking, set()
            await asyncio.gather(*overtaking)

    def _traces(self) -> list[str]:
        """Returns what a stopped script has left and no call has mended yet."""
        if not self.plan.has_stopped_a_script:
            return []
        return at_rest(self.books.state, self.books.now, self._limits, self.books.outside)

    def judge(self) -> Outcome:
        """Checks the final state."""
        self._look()
        for fault in self._traces():
            self.complain(f"{fault} (left by a stopped script)")
        state, outcome = self.books.state, self.books.outcome
        books = self.books
        for fault in final(
            state,
            books.made.values(),
            books.acknowledged,
            set(self.names),
            books.outside,
            is_reachable=self._is_reachable,
        ):
            self.complain(fault)
        self._judge_files()
        self._judge_deliveries()
        for job_id, job in state.jobs.items():
            name, end = self.names[job_id], job.get("outcome", "")
            outcome.ends[name] = end
            outcome.attempts[name] = int(job["attempt"])
            if name in self.books.canceled and end not in ("canceled", "completed"):
                self.complain(f"I2 {job_id} was canceled and ended {end} {job.get('error_code')}")
            if len(self.plan.faults) <= 1 and end not in self.scenario.works[name].ends:
                self.complain(f"I2 {job_id} ended {end} {job.get('error_code', '')}")
        return outcome

    def _judge_files(self) -> None:
        """Checks the final states of files, and that the bucket has no others, unless a process could not note them."""
        books, state = self.books, self.books.state
        for job_id, job in state.jobs.items():
            ends = {file["state"] for file in read_files(job.get("files"))}
            if len(self.plan.faults) <= 1 and ends - {self.work(job_id).kept}:
                self.complain(f"I6 the files of {job_id} ended as {sorted(ends)}")
        left = books.outside.objects.keys() - referred(state)
        books.outcome.left = len(left)
        is_excused = any(_may_leave_files(self.plan, fault) for fault in self.plan.faults)
        if left and not is_excused:
            self.complain(f"I6 the bucket holds {sorted(left)}, which no job lists")

    def _judge_deliveries(self) -> None:
        """Checks that no event was delivered again without a reason."""
        reasons = len(self.plan.faults) + sum(step.verb == "redeliver" for step in self.scenario.steps)
        for row, count in self.books.outside.received.items():
            if count > 1 + reasons:
                self.complain(f"I6 {row} was received {count} times")

    @property
    def max_listed(self) -> int:
        return self.scenario.max_listed

    def new_incarnation(self) -> str:
        return life(len(self.books.state.deleted))

    def work(self, job_id: str) -> Work:
        return self.scenario.works[self.names[job_id]]

    def complain(self, fault: str) -> None:
        for job_id, name in self.names.items():
            fault = fault.replace(job_id, name)
        place = f"{(self.books.now - START) / 1000:.0f} s, I/O {len(self.plan.points)} ({self.plan.points[-1]})"
        self.books.outcome.violations.append(f"{fault}, at {place}")

    def state_now(self) -> State:
        state = self._engine.state()
        state.deleted = self.books.state.deleted
        return state

    def on_create(self, made: Made, *, was_frozen: bool) -> None:
        self._look()
        books = self.books
        alive = [
            p
            for p in books.made.values()
            if p.status in ("running", "completed") and (p.job, p.incarnation) == (made.job, made.incarnation)
        ]
        was_findable = any(self._provider.could_be_found(p) for p in alive if not p.is_zombie)
        kind, fault = spend(books.state, made, books.made.values(), was_frozen=was_frozen, was_findable=was_findable)
        made.is_zombie = kind == "zombie"
        books.outcome.zombies += kind == "zombie"
        books.outcome.doubles += kind == "double"
        if fault:
            self.complain(fault)

    def _new_books(self) -> Books:
        books = Books(START, START + round(self.settings.tick_period * 1000), len(self.scenario.steps))
        for number, step in enumerate(self.scenario.steps):
            books.plan(step.at, "step", number, 0)
        return books

    async def _tick(self) -> None:
        """Runs a tick, unless it would find neither a live job nor anything due."""
        books, period = self.books, round(self.settings.tick_period * 1000)
        counts = self.plan.is_over and not self._frozen and not books.steps_left
        due = books.now if books.state.live else books.state.next_follow_up
        if (due is None or due > books.now) and not self._traces():
            # Until then, or until the next event, each tick is like this one.
            until = min((moment for moment in (due, *(event[0] for event in books.events[:1])) if moment), default=0)
            passing = max(1, math.ceil((until - books.now) / period))
            books.next_tick += passing * period
            books.outcome.ticks += passing * (counts and due is not None)
            return
        books.next_tick += period
        books.outcome.ticks += counts
        await self._process("tick", lambda runtime: runtime.tick.run())

    async def _step(self, number: int, tries: int) -> None:
        """Runs a step of the scenario. A client without an answer tries again, except after a read."""
        step = self.scenario.steps[number]
        self.books.steps_left -= tries == 0
        if step.verb == "delete":
            self.books.outside.erasing.add(self._clients.ids[step.of])
        if step.verb == "erase":
            works = self.scenario.works.items()
            self.books.outside.erasing |= {self._clients.ids[name] for name, work in works if work.user == step.of}
        answer = await self._process(step.verb, self._clients.act(step))
        if answer is not None:
            self._note(step, answer)
        elif step.verb not in READS and tries < len(PATIENCE):
            self.books.plan(PATIENCE[tries], "step", number, tries + 1)

    def _note(self, step: Step, answer: Any) -> None:
        """Records what an answer promised to the client."""
        if step.verb in ("submit", "redrive"):
            self.books.acknowledged.add(answer["id"])
        elif step.verb == "erase" and answer["is_complete"]:
            self._judge_erasure(step.of)
        elif step.verb == "submit_batch":
            self.books.acknowledged.update(job["id"] for job in answer["jobs"])
        elif step.verb == "cancel" and answer.word != "already_terminal":
            self.books.canceled.add(step.of)

    def _judge_erasure(self, user: str) -> None:
        """Checks that nothing is left of a user whose erasure is said to be complete."""
        state, folder = self._engine.state(), layout.user_folder(CALLER, user)
        left = [job_id for job_id, job in state.jobs.items() if job["user"] == user]
        left += [row for row in (*state.history, *state.archived) if row.startswith(f"{CALLER}:{user}|")]
        left += [key for key in self.books.outside.objects if f"/{folder}/" in key]
        left += [held for held in state.users if held == f"{CALLER}:{user}"]
        if left:
            self.complain(f"I12 the erasure of {user} is complete, but {left} are left")

    async def _end(self, prediction: str) -> None:
        self._provider.end(prediction)

    async def _overtake(self, prediction: str, tries: int, copies: int) -> None:
        """Delivers a webhook during a create. It goes on even if the create's process ends meanwhile."""
        task = asyncio.get_running_loop().create_task(self._webhook(prediction, tries, copies))
        self._overtaking.add(task)
        await asyncio.shield(task)

    async def _webhook(self, prediction: str, tries: int, copies: int) -> None:
        """Does what functions/webhook.py does after the signature; the provider repeats a webhook without a 200."""
        made = self.books.made[prediction]
        said = self._provider.described(prediction)

        async def webhook(runtime: Runtime) -> str:
            budget = Budget.of_function(self.settings)
            async with Scope(runtime.outbox_worker, budget, is_waited_for=False):
                own = made.incarnation
                ended = await runtime.reconciler.apply(made.job, made.attempt, "replicate", said, incarnation=own)
                runtime.statuses.forget(made.job, ended=ended.word in ("finished", "already"))
                if ended.waiting:
                    await runtime.dispatcher.run(budget)
            return ended.word

        async def webhooks(runtime: Runtime) -> Any:
            answers = await asyncio.gather(*(webhook(runtime) for _ in range(copies)), return_exceptions=True)
            for error in (answer for answer in answers if isinstance(answer, BaseException)):
                raise error  # one request does not end the other
            return answers

        if await self._process("webhook", webhooks) is None and tries < len(RETRIES):
            self.books.plan(RETRIES[tries], "webhook", prediction, tries + 1, 1)

    async def _process(self, name: str, body: Callable[[Runtime], Awaitable[Any]]) -> Any:
        """Runs a function until it ends or freezes. Returns its answer; None after an error or without one in time."""
        process = Process(name, self.plan, self._on_freeze, self._look)
        instance = self._instance()
        instance.host(process)

        async def main() -> Any:
            return await body(instance.runtime)

        task = asyncio.get_running_loop().create_task(main())
        task.add_done_callback(process.end)
        await process.until_still()
        return await self._still(process, task, instance)

    def _instance(self) -> Instance:
        if self._idle:
            return self._idle.pop()
        return Instance(self.settings, self._engine, self._provider, self._clock, self)

    async def _still(self, process: Process, task: "asyncio.Task[Any]", instance: Instance) -> Any:
        if task.done():
            if self._is_warm and not process.is_dead:
                self._idle.append(instance)
            return await self._result(process, task)
        s = self.settings
        is_long = process.frozen_by is not None and process.frozen_by.kind == "long_pause"
        length = s.lease + 25 + (s.cancel_after + s.adoption_margin + s.tick_period if is_long else 0)
        self.books.plan(length, "thaw", process, task, instance)
        return None

    def _on_freeze(self, process: Process, fault: Fault) -> None:
        self._frozen.add(process)
        process.frozen_by = fault
        self._look()  # check the state before other processes go on

    async def _thaw(self, process: Process, task: "asyncio.Task[Any]", instance: Instance) -> None:
        self._frozen.discard(process)
        await process.thaw()
        await self._still(process, task, instance)

    async def _result(self, process: Process, task: "asyncio.Task[Any]") -> Any:
        if await process.bury() and not process.is_dead:
            self.complain(f"a {process.name} ended and left work behind")
        refusals = (*REFUSALS, StoreUnavailable) if self.plan.has_refused_a_call else REFUSALS
        for trouble in unexpected_errors():
            if trouble.endswith(" StoreUnavailable") and self.plan.has_refused_a_call:
                continue
            self.complain(f"a {process.name} went on after {trouble}")
        error = task.exception()
        while isinstance(error, BaseExceptionGroup):  # from concurrent tasks
            error = error.exceptions[0]
        # A second fault may have come first: of two webhooks at once, one was unanswered and the other crashed.
        is_refused_first = len(self.plan.faults) > 1 and isinstance(error, REFUSALS)
        if process.is_dead != isinstance(error, Crash) and not is_refused_first:
            self.complain(f"the crash of a {process.name} ended as {error!r}")
        elif error is None:
            return task.result()
        elif not isinstance(error, (Crash, *refusals)):
            self.complain(f"a {process.name} ended with {error!r} {getattr(error, 'text', '')}")
        return None

    def _look(self) -> None:
        """Checks the store's current state against the last one."""
        books, state = self.books, self._engine.state()
        state.deleted = books.state.deleted | {
            (job_id, job.get("incarnation", "")): job["outcome"]
            for job_id, job in books.state.jobs.items()
            if job_id in books.outside.erasing - state.jobs.keys() and job["state"] == "done"
        }
        if self.plan.has_stopped_a_script:
            found = list(ends_kept(books.state, state))
        else:
            found = check(books.state, state, books.made, books.now, self._limits, books.outside)
        for fault in found:
            self.complain(fault)
        books.state = state


def _may_leave_files(plan: FaultPlan, fault: Fault) -> bool:
    """Whether a copy could stay that no later turn removes: its process was late, or the bucket did not remove it.

    What a process leaves that has died is removed before the last note.
    """
    is_at_bucket = plan.points[fault.number - 1].rpartition(" ")[2].startswith("bucket:")
    return fault.kind in ("pause", "long_pause", "stale_repeat") or (is_at_bucket and fault.kind != "crash")
