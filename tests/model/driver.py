"""The callers: processes with wrong clocks, providers that lose predictions, and the deployment they share."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from shared.budget import Budget
from shared.clock import ManualClock
from shared.errors import (
    BudgetExceeded,
    IdempotencyConflict,
    JobNotFound,
    KeyQueueFull,
    NoSuchEvent,
    NotTerminal,
    QueueFull,
    UserLimitReached,
    UserQueueFull,
)
from shared.jobqueue import FollowUp
from shared.jobqueue.constants import BACKLOG, BAND
from shared.providers.base import Accepted, Found, Prediction, Submission, SubmissionOutcome, Wanted
from shared.runtime import Runtime
from shared.storage.files import File, read_files
from tests.model.deployment import Deployment
from tests.model.judge import JudgedStore
from tests.model.outbox import JOB_EVENTS
from tests.model.state import Model
from tests.world import ObedientProvider

FOREIGN = "https://elsewhere.test/x.png"  # of no known host: such files are not copied
FILES = {"replicate": "https://replicate.delivery/x.png", "wavespeed": "https://files.wavespeed.ai/x.png"}
OUT_OF_MEMORY = "CUDA out of memory"
MAX_SKEW = 120_000


@dataclass(frozen=True)
class Caller:
    """A process: its clock's error in ms, and whether each answer of the store is lost once, and so repeated."""

    skew: int = 0
    loses_answers: bool = False


SOUND = Caller()


@dataclass
class Held:
    """A claim that a caller holds, who may act on it at once, late, twice or never."""

    job: str
    attempt: int
    probe: str = ""


@dataclass
class Leased:
    """A row of the outbox that a caller holds, with the row's state at the time of the claim."""

    row: FollowUp
    lane: str = ""
    tag: str = ""
    tries: int = 0


class Outside:
    """Owners' endpoints, the files' sources and Sluice's own storage."""

    def __init__(self, made: Runtime, kept: Callable[[], Iterable[str | None]]) -> None:
        self.answer: tuple[int | None, str, float, str | None] = (204, "", 0.0, None)
        self.source = "there"
        self._kept = kept  # what jobs say of their files
        sluice: Any = made
        sluice.deliveries._post, sluice.storing._copy, sluice.bucket.delete = self._post, self._copy, self._delete

    async def _post(self, url: str, body: bytes, sent: Any) -> tuple[int | None, str, float, str | None]:
        await asyncio.sleep(0)
        return self.answer

    async def _copy(self, row: FollowUp, f: dict[str, str], file: File, n: int, budget: Budget) -> list[str]:
        await asyncio.sleep(0)
        match self.source:
            case "there":
                file |= {"state": "stored", "key": f"{row.id}/{n}/{row.turn}"}
                return [str(file["key"])]
            case "lost":
                file |= {"state": "expired", "error": "source_gone"}
            case _:
                file["error"] = "source_unavailable"
        return []

    async def _delete(self, keys: list[str]) -> None:
        kept = {file.get("key") for files in self._kept() for file in read_files(files)}
        assert not kept & set(keys), f"{kept & set(keys)} was kept, and is removed"


class WatchedProvider(ObedientProvider):
    """Creates predictions that the machine knows, at most one an attempt, and finishes them while it `hurries`."""

    def __init__(self, name: str, make: Callable[[str, int], str], states: dict[str, Prediction]) -> None:
        super().__init__(name, states=states)
        self._make = make
        self.made: dict[str, tuple[str, datetime]] = {}  # prompt, and when
        self.hurries = False
        self.lists = True

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        if self.outcomes:
            return self.outcomes.pop(0)
        return Accepted(self.states[self._make(submission.job_id, submission.attempt)])

    async def get(self, prediction_id: str, timeout: float) -> Prediction:
        if self.hurries and prediction_id in self.states and self.states[prediction_id].status == "running":
            self.states[prediction_id] = Prediction(prediction_id, "completed", output=self.output_of(prediction_id))
        return await super().get(prediction_id, timeout)

    def output_of(self, prediction_id: str) -> str:
        """Every other prediction makes a file."""
        return FILES[self.name] if prediction_id[-1] in "02468" else "text"

    async def find(self, wanted: Wanted, timeout: float) -> Found:
        listed = [(name, *what) for name, what in self.made.items() if wanted.since <= what[1] <= wanted.until]
        alike = tuple(name for name, prompt, _ in listed if prompt == wanted.input["prompt"])
        return Found(alike=alike, is_complete=True) if self.lists else Found()


class Driver(RuleBasedStateMachine):
    """One deployment on a judged store, with its callers' claims and its providers' predictions."""

    deployment: Deployment

    def __init__(self) -> None:
        super().__init__()
        settings = self.deployment.settings
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.store = JudgedStore(Model(self.deployment), self.clock)
        self.states: dict[str, Prediction] = {}
        self.providers = {
            name: WatchedProvider(name, self.prediction_of, self.states) for name in settings.provider_names
        }
        self.sluice = Runtime(settings, self.store, self.clock, providers=self.providers)
        self.queue, self.controls = self.sluice.queue, self.sluice.controls
        self.outside = Outside(self.sluice, lambda: [job.get("files") for job in self.model.jobs.values()])
        self.leased: list[Leased] = []
        self.held: list[Held] = []
        self.predictions: dict[str, tuple[int, str, int]] = {}  # of which epoch, life of a job and attempt
        self.lost_something = False

    @property
    def model(self) -> Model:
        return self.store.model

    def run(self, work: Coroutine[Any, Any, Any], caller: Caller = SOUND) -> Any:
        """The work's result, None if it was refused as it may be; raises the judge's findings."""
        self.clock.skew, self.store.loses_answers = caller.skew, caller.loses_answers
        try:
            return self.loop.run_until_complete(work)
        except (UserLimitReached, UserQueueFull, KeyQueueFull, QueueFull, BudgetExceeded):
            return None
        except (JobNotFound, IdempotencyConflict, NoSuchEvent, NotTerminal):
            return None
        finally:
            if self.store.failure is not None:
                raise self.store.failure

    def prompt_of(self, job: str) -> str:
        """Two jobs of one user are alike, so that their predictions cannot be distinguished."""
        return f"a lighthouse for {self.model.jobs[job]['user'] if job in self.model.jobs else ''}"

    def prediction_of(self, job: str, attempt: int) -> str:
        """The attempt's prediction, created now if the provider has none."""
        attempt_key = self.store.submission(job, attempt)
        for known, owner in self.predictions.items():
            if owner == attempt_key:
                return known
        name = f"p{len(self.predictions)}"
        self.predictions[name] = attempt_key
        self.states[name] = Prediction(name, "running")
        created_at = datetime.fromtimestamp(self.clock.true_now / 1000, UTC)
        self.providers[self.provider_of(job)].made[name] = (self.prompt_of(job), created_at)
        return name

    def provider_of(self, job: str) -> str:
        return str(self.model.jobs.get(job, {}).get("provider", "replicate"))

    def jobs(self, *states: str) -> list[str]:
        return sorted(name for name, job in self.model.jobs.items() if job["state"] in states or not states)

    def is_current(self, claim: Held) -> bool:
        """Whether the claim is still honoured."""
        return claim.job in self.jobs("submitting") and claim.attempt == self.attempt_of(claim.job)

    def a_job(self, pick: int, *states: str) -> str:
        """Mostly a job in one of these states, sometimes any; one that does not exist if there is none."""
        fitting = self.jobs(*states) if pick % 8 else self.jobs()
        return fitting[pick // 8 % len(fitting)] if fitting else "job_unknown"

    def attempt_of(self, job: str) -> int:
        return int(self.model.jobs.get(job, {}).get("attempt", 0))

    def act(self, claim: Held, how: str, caller: Caller) -> None:
        """The caller that submits an attempt reports its outcome."""
        job, attempt, queue = claim.job, claim.attempt, self.queue
        match how:
            case "record":
                self.run(queue.record(job, attempt, self.prediction_of(job, attempt), 30, probe=claim.probe), caller)
            case "another":
                self.states["another"] = Prediction("another", "running")
                self.run(queue.record(job, attempt, "another"), caller)
            case "completed" | "canceled" | "failed" | "unreadable":
                self.report(job, attempt, Prediction("", how, error=OUT_OF_MEMORY), caller)
            case _:
                self.run(self._put_back(job, attempt, how), caller)

    def _put_back(self, job: str, attempt: int, how: str) -> Coroutine[Any, Any, Any]:
        """The calls of a caller without a prediction, or one that does not know whether there is one."""
        match how:
            case "reject":
                return self.queue.fail(job, attempt, "", code="x", detail="", retryable=False)
            case "not found":
                return self.queue.fail(job, attempt, "", code="lost", detail="", retryable=False, once=True)
            case "put back":
                token = self.store.starts.get(self.store.submission(job, attempt), "another")
                return self.queue.snooze(job, attempt, delay=0, code="x", token=token)
            case "rescue":
                return self.queue.rescue(job, attempt)
            case "trip":
                return self.queue.trip(job, attempt)
            case _:
                code, is_refused = {"refuse": "provider_auth"}.get(how, "rate_limited"), how in ("pause", "refuse")
                return self.queue.snooze(job, attempt, delay=5, code=code, status=403, pause=is_refused)

    def report(self, job: str, attempt: int, said: Prediction, caller: Caller) -> None:
        """Reports this prediction's state for the attempt, or for the named prediction."""
        if not said.id:
            metrics = {"predict_time": 3.0} if attempt % 2 else {}
            said = replace(said, id=self.prediction_of(job, attempt), metrics=metrics)
            self.states[said.id] = said
        want = len(self.held) % 3
        applied = self.sluice.reconciler.apply(job, attempt, self.provider_of(job), said, want=lambda: want)
        ended = self.run(applied, caller)
        if ended.claimed:
            self.held += [Held(one.id, one.attempt, one.probe) for one in ended.claimed.started]

    def be_silent(self, is_silent: bool) -> None:
        for provider in self.providers.values():
            provider.is_silent = is_silent

    def run_tick(self, outcomes: list[SubmissionOutcome], caller: Caller = SOUND) -> None:
        """Runs a tick; the providers answer its first creations so."""
        for provider in self.providers.values():
            provider.outcomes = outcomes.copy()
        self.run(self.sluice.tick.run(), caller)
        for provider in self.providers.values():
            provider.outcomes = []

    def lose(self, key: str) -> None:
        """Removes a key from the store."""
        self.lost_something = True
        self.run(self.store.raw("DEL", key))
        self.store.look_again()

    # The end

    def teardown(self) -> None:
        """Faults stop, limits are lifted, and within a computed number of ticks every job has ended."""
        try:
            if self.store.failure is None:
                self._come_to_an_end()
        finally:
            self.loop.run_until_complete(self.sluice.close())
            self.loop.close()

    def _come_to_an_end(self) -> None:
        gates = [name for name in self.model.index if name.startswith("=")]
        self.run(self.controls.set_gates(dict.fromkeys(gates)))
        for key in list(self.model.sets):
            owner, _, user = key.partition(":")
            self.run(self.controls.limit_user(owner, user, None))
        for provider in self.providers.values():
            provider.hurries = True
        allowed = self.max_ticks()
        ticks = 0
        while not self.is_over():
            ticks += 1
            assert ticks <= allowed, f"not over after {allowed} ticks: {self.left()}, {self.model.relaxed}"
            self.clock.advance(self.deployment.settings.tick_period)
            self.run_tick([])
            self.remind_of_the_lost()
        self._deliver_all()

    def _deliver_all(self) -> None:
        """Owners' endpoints and the files' sources recover: after the longest wait nothing is left."""
        self.outside.answer, self.outside.source = (204, "", 0.0, None), "there"
        for _ in range(3):
            if self.model.outbox:
                self.clock.advance(30 * 3600)
                self.run_tick([])
        assert not self.model.outbox, f"the outbox still holds {self.model.outbox}: {self.model.lanes}"
        for name, job in self.model.jobs.items():
            pending = [event for event in JOB_EVENTS if job.get(f"s:{event}") == "pending"]
            assert not pending and job.get("storing") != "1", f"{name} still has pending {pending}"

    def is_over(self) -> bool:
        """No live job is left, nor any trace except histories and the records of models and users."""
        return not any(self.left())

    def left(self) -> tuple[dict[str, str], list[str], set[str]]:
        members = {member for members in self.model.sets.values() for member in members}
        states = {name: self.model.jobs[name]["state"] for name in self.model.live}
        # No claim sees the entries of a job that was lost in the backlog; its alarm removes them when it fires.
        waiting = {name for name, score in self.model.index.items() if score // BAND == BACKLOG}
        lost = {entry for name in waiting & self.model.relaxed.ghosts for entry in (name, f"!{name}", f"%{name}")}
        return states, [name for name in self.model.index if name[0] not in "@~" and name not in lost], members - {"~"}

    def remind_of_the_lost(self) -> None:
        """Rehomes jobs that no tick finds: lost by their user's set and the index, or waiting to be promoted."""
        lost = self.model.relaxed.unset & self.model.live
        for job in sorted(lost):
            known = self.model.jobs[job]
            if job not in self.model.index or known["state"] == "backlog":
                self.run(self.queue.rehome(self.queue.keys.user("app", known["user"]), [job]))

    def max_ticks(self) -> int:
        """How many ticks suffice once faults have stopped.

        A lost submission makes others wait longest: lease, adoption window and one check, by clocks that differ. Next
        comes the longest pause of a circuit. Then each live job needs at most two ticks, one that
        starts it and one that asks about it. After a loss there is a sweep every 15 ticks, and one after the jobs have
        ended.
        """
        d, s = self.deployment, self.deployment.settings
        circuit = s.circuit_pause * 1000 * 16 if s.circuit_failures else 0
        patience = (d.lease + d.longest_adoption + d.check + 2 * MAX_SKEW + circuit) / (s.tick_period * 1000)
        return round(patience) + 2 * len(self.model.live) + 1 + (2 * 15 if self.lost_something else 0)
