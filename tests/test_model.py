"""The queue's verbs against a plain model of them, under what a store, callers and providers can do to each other.

The real scripts run on memory mode's engine. Every EVAL, whoever sends it, is judged: its reply must be the model's,
the whole store must be what the model says, and the invariants must hold. So the machine's rules may use single verbs
as well as the tick, the polls and the cancellations of production.

What is relaxed, and after what; everything else always holds:

fault                what is relaxed                                            until
a job's key evicted  its entries in the index and its user's set stay behind    a claim, a submit or a sweep meets them
                     its attempts count from 1 again                            (a new job under the same id)
a user's set evicted the set lacks jobs, so the user may have more than allowed these jobs have ended
the index evicted    live jobs are in no band, and slots can be overbooked      a sweep or poll has rehomed them, and
                                                                                enough of them have ended
a snapshot restored  attempt numbers handed out since are handed out again      (nothing else: it was a sound store)
"""

import asyncio
import copy
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from shared.budget import Budget
from shared.clock import ManualClock
from shared.errors import IdempotencyConflict, JobNotFound, QueueFull, UserLimitReached
from shared.job import PUBLIC_STATUS
from shared.jobqueue import Claim
from shared.jobqueue.scripts import VERBS, script
from shared.providers.base import (
    Accepted,
    Prediction,
    Rejected,
    Submission,
    SubmissionOutcome,
    Throttled,
    Unknown,
    Wanted,
)
from shared.runtime import Runtime
from shared.store.memory import MemoryStore
from shared.submission import SubmitRequest
from tests.world import ObedientProvider, settings_for

SETTINGS = settings_for(
    None, max_concurrent_tasks=3, queue_concurrency=2, storyboard_concurrency=2, max_user_tasks=3, max_queue_size=5,
    queue_max_retries=2, queue_retry_delay=10_000, lease=90, cancel_after=30, adoption_margin=61,
)  # fmt: skip
LIMIT, USER_LIMIT = SETTINGS.max_concurrent_tasks, SETTINGS.max_user_tasks
CONCURRENCY = [queue.concurrency for queue in SETTINGS.queue_list]
NAMES = [queue.name for queue in SETTINGS.queue_list]
LEASE = round(SETTINGS.lease * 1000)
ADOPTION = round((SETTINGS.cancel_after + SETTINGS.adoption_margin) * 1000)
CHECK = round(SETTINGS.check_interval * 1000)
MAX_SKEW = 120_000
READY, DELAYED, BAND = 20, 40, 10**14
PREFIX = SETTINGS.prefix + ":"
USERS = ["ada", "bob", "eve"]
ALLOWED = {
    ("", "queued"), ("", "submitting"), ("queued", "submitting"), ("queued", "done"), ("submitting", "running"),
    ("submitting", "done"), ("submitting", "delayed"), ("submitting", "queued"), ("running", "done"),
    ("running", "delayed"), ("delayed", "queued"), ("delayed", "submitting"), ("delayed", "done"),
}  # fmt: skip
# What the model knows of a job and the store must hold; absent is ''.
MODELLED = (
    "state", "attempt", "prediction", "outcome", "fingerprint", "token", "user", "input", "queue_number", "score",
    "snoozes", "rescues", "closed_attempt", "cancel_requested", "due_at", "overdue_at", "checked_at", "lease_until",
    "adopt_until", "progress",
)  # fmt: skip

Content = dict[str, tuple[str, Any, int]]  # key: type, value, TTL in ms


def hash_of(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def prompt_of(user: str) -> str:
    """Two jobs of one user are alike, so that nobody can tell their predictions from each other."""
    return f"a lighthouse for {user}"


def text(number: float) -> str:
    return f"{number:.0f}"


@dataclass
class View:
    """What the store holds, read past the verbs."""

    index: dict[str, int] = field(default_factory=dict)  # score
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    has_ttl: dict[str, bool] = field(default_factory=dict)
    sets: dict[str, set[str]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    counters: dict[str, str] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, content: Content) -> "View":
        view = cls()
        for key, (_, value, ttl) in content.items():
            kind, _, name = key.removeprefix(PREFIX).partition(":")
            match kind:
                case "z":
                    view.index = {member: int(score) for member, score in value.items()}
                case "j":
                    view.jobs[name], view.has_ttl[name] = value, ttl > 0
                case "u":
                    view.sets[name] = set(value)
                case "o":
                    view.owners[name] = value
                case "st":
                    view.counters = {n: v for n, v in value.items() if n not in ("tick_at", "sweep_cursor")}
                case "d":
                    view.dead = set(value)
        return view


@dataclass
class Model:
    """What the store should hold, as plain dicts, and what each verb should do to it."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)
    sets: dict[str, set[str]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    dead: set[str] = field(default_factory=set)
    # The relaxations
    ghosts: set[str] = field(default_factory=set)  # index entries whose job was evicted
    strays: set[tuple[str, str]] = field(default_factory=set)  # the same in users' sets, with the user
    unset: set[str] = field(default_factory=set)  # live jobs whose user's set was evicted
    unindexed: set[str] = field(default_factory=set)  # live jobs that the index has lost
    is_overbooked: bool = False

    @property
    def live(self) -> set[str]:
        return {name for name, job in self.jobs.items() if job["state"] != "done"}

    def in_band(self, *bands: int) -> list[str]:
        """The index entries in these bands, first ones first."""
        return sorted(
            (n for n, score in self.index.items() if score // BAND in bands), key=lambda n: (self.index[n], n)
        )

    def slots(self) -> list[str]:
        return self.in_band(*range(READY))

    def ready(self, queue: int) -> list[str]:
        return self.in_band(READY + queue)

    def has_room(self, queue: int) -> bool:
        return len(self.slots()) < LIMIT and len(self.in_band(queue)) < CONCURRENCY[queue]

    def waiting(self, now: int) -> str:
        low, high = READY * BAND, DELAYED * BAND + now
        return "1" if any(low <= score <= high for score in self.index.values()) else "0"

    def drop(self, lost: list[str]) -> None:
        for name in lost:
            self.index.pop(name, None)
        if lost:
            self.counters["missing"] += len(lost)

    def end(self, name: str, outcome: str, **changes: Any) -> None:
        job = self.jobs[name]
        self.index.pop(name, None)
        self.sets.get(f"app:{job['user']}", set()).discard(name)
        job.update(state="done", outcome=outcome, **changes)
        self.counters[outcome] += 1

    # One method a verb: what it does to the model, and the reply it should give. ``reply`` is the store's own, for
    # where the verb has a choice; the method asserts that the choice was allowed.

    def enqueue(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        name, token, fingerprint = argv[:3]
        job = self.jobs.get(name)
        if job:
            if job["fingerprint"] != fingerprint:
                return ["conflict"]
            if job["token"] != token:
                return ["duplicate"]
            is_started = (job["state"], job["attempt"]) == ("submitting", 1)
            return ["started", "0"] if is_started else ["queued", "", "1"]
        members = self.sets.setdefault(keys[2].removeprefix(f"{PREFIX}u:"), set())
        if len(members) >= USER_LIMIT:
            lost = [member for member in members if member not in self.jobs]
            members.difference_update(lost)
            self.drop(lost)
            if len(members) >= USER_LIMIT:
                return ["user_limit", str(len(members))]
        waits = len(self.index) - len(self.slots())
        if reply[0] == "queue_full":
            assert waits >= SETTINGS.max_queue_size
            return ["queue_full", str(waits)]
        was_there = name in self.index
        self._admit(argv, members, reply)
        if reply[0] == "started":
            return ["started", reply[1]]
        return ["queued", self._position(argv, reply, was_there), reply[2]]

    def _admit(self, argv: list[str], members: set[str], reply: Any) -> None:
        name, token, fingerprint = argv[:3]
        time, queue, score, start = int(argv[4]), int(argv[5]), int(argv[6]), argv[7] == "1"
        rivals = [other for k in range(len(NAMES)) if self.has_room(k) for other in self.ready(k)]
        due = [other for other in self.in_band(DELAYED) if self.index[other] <= DELAYED * BAND + int(argv[3])]
        job = {"state": "queued", "attempt": 0, "token": token, "fingerprint": fingerprint, "score": score}
        fields = hash_of(argv[14:])
        job |= {"user": fields["user"], "input": fields["input"], "queue_number": queue}
        if reply[0] == "started":
            assert start and self.has_room(queue)
            better = (READY + queue) * BAND + score
            assert all(self.index[other] // BAND == READY + queue and self.index[other] > better for other in rivals)
            assert not due or len(self.index) > LIMIT, "started past a due retry in sight"
            job |= {
                "state": "submitting",
                "attempt": 1,
                "lease_until": time + LEASE,
                "adopt_until": time + LEASE + ADOPTION,
            }
            self.index[name] = queue * BAND + time + LEASE
        else:
            assert len(self.index) - len(self.slots()) < SETTINGS.max_queue_size
            wanted = due or any(self.ready(k) for k in range(len(NAMES)))
            assert not (start and self.has_room(queue)) or wanted, "a job waits for a slot that nobody else wants"
            self.index[name] = (READY + queue) * BAND + score
        self.jobs[name] = job
        self.ghosts.discard(name)
        self.strays.discard((f"app:{job['user']}", name))
        members.add(name)

    def _position(self, argv: list[str], reply: Any, was_there: bool) -> str:
        queue, score = int(argv[5]), int(argv[6])
        place = sum(self.index[other] <= (READY + queue) * BAND + score for other in self.ready(queue))
        # Its own entry from before its key was evicted may be counted as somebody ahead.
        return str(place + 1) if was_there and reply[1] == str(place + 1) else str(place)

    def claim(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        token, time, mark, want = argv[0], int(argv[2]), int(argv[5]), int(argv[6])
        head = sorted(self.index, key=lambda n: (self.index[n], n))[: LIMIT + want]
        slots = [name for name in head if self.index[name] < READY * BAND]
        known = {name for name in slots if name in self.jobs}
        mine = [n for n in slots if n in known and self.jobs[n]["token"] == token and self.index[n] % 1000 == mark]
        if mine:
            again = [self._started(n) for n in mine if self.jobs[n]["state"] == "submitting"]
            return [again, [], "0"]
        handed, lost = [], []
        for name in [n for n in slots if self.index[n] % BAND <= time][:want]:
            if name not in known:
                lost.append(name)
                continue
            job = self.jobs[name]
            asked = job.get("cancel_requested", "0")
            row = [name, str(job["attempt"]), "replicate", job["state"], job.get("prediction", "")]
            handed.append([*row, reply_part(reply[1], name, 5), asked])
            job["checked_at"] = int(argv[1])
            self.index[name] = self.index[name] // BAND * BAND + (time + CHECK) // 1000 * 1000
        started = self._start(reply, argv)
        gone = int(reply[2]) - len(lost)
        return [started, handed, str(len(lost) + gone)]

    def _started(self, name: str) -> list[str]:
        job = self.jobs[name]
        queue = NAMES[job["queue_number"]]
        return [name, str(job["attempt"]), "replicate", "acme/video", job["input"], "app", job["user"], queue]

    def _start(self, reply: Any, argv: list[str]) -> list[list[str]]:
        """Applies the claim's choice after checking that it was allowed, and the best."""
        time, want, mark = int(argv[2]), int(argv[6]), int(argv[5])
        names = [row[0] for row in reply[0]]
        assert len(names) <= want and len(names) == len(set(names))
        scores = {name: self.jobs[name]["score"] for name in names}
        for name in names:
            job, score = self.jobs[name], self.index[name]
            assert READY * BAND <= score <= DELAYED * BAND + time, "started what does not wait or is not due"
            assert self.has_room(job["queue_number"]), "started beyond a limit"
            lease_until = (time + LEASE) // 1000 * 1000 + mark
            job.update(state="submitting", attempt=job["attempt"] + 1, token=argv[0], prediction="", progress="")
            job.update(lease_until=lease_until, adopt_until=lease_until + ADOPTION)
            self.index[name] = job["queue_number"] * BAND + lease_until
        for k in range(len(NAMES)):
            left = [other for other in self.ready(k) if other in self.jobs]
            for other in left if reply[2] == "0" and self.has_room(k) else []:
                assert len(names) == want, "left a job waiting though there is room"
                rank = (self.jobs[other]["score"], other)
                assert all((scores[n], n) < rank for n in names), "started a job before a better one"
        return [self._started(name) for name in names]

    def settle(self, view: View, time: int) -> None:
        """Follows what a claim may do or leave: due jobs that join their queue, entries without a job that go."""
        for name in self.in_band(DELAYED):
            job = self.jobs.get(name)
            if job and self.index[name] <= DELAYED * BAND + time:
                joined = (READY + job["queue_number"]) * BAND + job["score"]
                if view.index.get(name) == joined:
                    self.index[name], job["state"] = joined, "queued"
        lost = [name for name in self.index if name not in self.jobs and name not in view.index]
        self.drop(lost)

    def record(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        name, attempt, prediction, now = argv[0], int(argv[1]), argv[2], int(argv[3])
        job = self.jobs.get(name)
        if not job:
            return ["stale"]
        asked = job.get("cancel_requested", "0")
        if job.get("prediction") == prediction:
            return ["recorded", asked] if (job["attempt"], job["state"]) == (attempt, "running") else ["already"]
        if (job["attempt"], job["state"]) != (attempt, "submitting"):
            return ["stale"]
        check_at = now + int(argv[4])
        job.update(state="running", prediction=prediction, overdue_at=check_at)
        self.owners[prediction] = f"{name}:{attempt}"
        self.index[name] = job["queue_number"] * BAND + check_at // 1000 * 1000
        return ["recorded", asked]

    def finish(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        name, attempt, prediction, outcome, now = argv[0], int(argv[1]), argv[2], argv[3], int(argv[4])
        job = self.jobs.get(name)
        if not job:
            return ["unknown"]
        recorded = job.get("prediction", "")
        if job["state"] == "done":
            same = recorded == prediction
            return ["already", job["outcome"], self.waiting(now), job.get("other", "")] if same else ["stale"]
        is_other = attempt == job["attempt"] and recorded not in ("", prediction)
        at_provider = attempt == job["attempt"] and job["state"] in ("submitting", "running")
        if attempt > job["attempt"] or is_other or (outcome != "completed" and not at_provider):
            return ["stale"]
        if outcome == "canceled" and job.get("cancel_requested") != "1":
            outcome = "failed"
        other = recorded if recorded != prediction else ""
        self.end(name, outcome, prediction=prediction, other=other)
        if recorded != prediction:
            self.owners[prediction] = f"{name}:{attempt}"
        return ["finished", outcome, self.waiting(now), other]

    def fail(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        name, attempt, prediction, now, retryable = argv[0], int(argv[1]), argv[2], int(argv[3]), argv[7] == "1"
        job = self.jobs.get(name)
        if not job:
            return ["unknown"]
        if job.get("closed_attempt") == attempt:
            return self._closed(job, "outcome")
        recorded = job.get("prediction", "")
        if job["attempt"] != attempt or job["state"] not in ("submitting", "running"):
            return ["stale"]
        if prediction and recorded and prediction != recorded:
            return ["stale"]
        if prediction and not recorded:
            self.owners[prediction] = f"{name}:{attempt}"
        used, canceled = attempt - job.get("snoozes", 0), job.get("cancel_requested") == "1"
        if retryable and used < 1 + SETTINGS.queue_max_retries and not canceled:
            wait = SETTINGS.queue_retry_delay * 2 ** (used - 1) * (1 + float(argv[10]) / 2)
            job.update(
                state="delayed", due_at=int(text(now + wait)), prediction="", progress="", closed_attempt=attempt
            )
            job.update(score=max(0, job["score"] - int(argv[11])))
            self.index[name] = int(text(DELAYED * BAND + now + wait))
            self.counters["retried"] += 1
            return ["delayed", str(job["due_at"])]
        changes = {"prediction": prediction} if prediction else {}
        self.end(name, "canceled" if canceled else "failed", closed_attempt=attempt, **changes)
        if retryable and not canceled:
            self.dead.add(name)
        return ["finished", job["outcome"]]

    @staticmethod
    def _closed(job: dict[str, Any], outcome: str) -> list[str]:
        if job["state"] == "delayed":
            return ["delayed", str(job["due_at"])]
        return ["finished", job["outcome"]] if job["state"] == "done" else ["already"]

    def snooze(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        name, attempt, now, delay = argv[0], int(argv[1]), int(argv[2]), int(argv[3])
        job = self.jobs.get(name)
        if not job:
            return ["stale"]
        if job.get("closed_attempt") == attempt:
            return self._closed(job, "outcome")
        if (job["attempt"], job["state"]) != (attempt, "submitting") or argv[6] not in ("", job["token"]):
            return ["stale"]
        if job.get("cancel_requested") == "1":
            self.end(name, "canceled", closed_attempt=attempt)
            return ["finished", "canceled"]
        job.update(state="delayed", due_at=now + delay, snoozes=job.get("snoozes", 0) + 1, closed_attempt=attempt)
        self.index[name] = DELAYED * BAND + now + delay
        self.counters["snoozed"] += 1
        return ["delayed", str(now + delay)]

    def cancel(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        name, owner, token, now = argv[0], argv[1], argv[2], int(argv[3])
        job = self.jobs.get(name)
        if not job or owner != "app":
            return ["not_found"]
        if job["state"] == "done":
            is_mine = job.get("cancel_token") == token and job["outcome"] == "canceled"
            return ["canceled"] if is_mine else ["already_terminal", job["outcome"]]
        if job["state"] in ("queued", "delayed"):
            self.end(name, "canceled", cancel_token=token)
            return ["canceled"]
        job.update(cancel_requested="1", cancel_token=token, overdue_at=now)
        if job["state"] == "running":
            self.index[name] = job["queue_number"] * BAND + now
        return ["cancel_requested", str(job["attempt"]), job.get("prediction", ""), "replicate"]

    def rescue(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        name, attempt, time = argv[0], int(argv[1]), int(argv[3])
        job = self.jobs.get(name)
        if not job or job["attempt"] != attempt:
            return ["stale"]
        if job.get("closed_attempt") == attempt and job["state"] in ("done", "queued"):
            return ["finished", job["outcome"]] if job["state"] == "done" else ["requeued"]
        if job["state"] != "submitting":
            return ["stale"]
        if time < job["adopt_until"]:
            return ["waiting", str(job["adopt_until"])]
        self.counters["rescued"] += 1
        rescues, used = job.get("rescues", 0) + 1, attempt - job.get("snoozes", 0)
        if job.get("cancel_requested") == "1":
            self.end(name, "canceled", closed_attempt=attempt)
        elif rescues >= 3 or used >= 1 + SETTINGS.queue_max_retries:
            self.end(name, "failed", closed_attempt=attempt, rescues=rescues)
            self.dead.add(name)
        else:
            job.update(state="queued", rescues=rescues, closed_attempt=attempt)
            self.index[name] = (READY + job["queue_number"]) * BAND + job["score"]
            return ["requeued"]
        return ["finished", job["outcome"]]

    def check(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        name, now, gap = argv[0], int(argv[1]), int(argv[2])
        job = self.jobs.get(name)
        if not job or job["state"] != "running" or now < job["overdue_at"] or now < job.get("checked_at", 0) + gap:
            return ["wait"]
        job["checked_at"] = now
        self.index[name] = job["queue_number"] * BAND + (now + CHECK) // 1000 * 1000
        return ["ask", str(job["attempt"]), "replicate", "running", job["prediction"], reply[5],
                job.get("cancel_requested", "0")]  # fmt: skip

    def progress(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        job = self.jobs.get(keys[0].removeprefix(f"{PREFIX}j:"))
        attempt, prediction, percent = int(argv[0]), argv[1], argv[2]
        if not job or (job["attempt"], job["state"], job.get("prediction")) != (attempt, "running", prediction):
            return ["stale"]
        job["progress"] = percent
        return ["noted"]

    def adopt(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        name, attempt, now = argv[0], int(argv[1]), int(argv[2])
        job = self.jobs.get(name)
        if not job or job["attempt"] != attempt or job["state"] not in ("submitting", "running"):
            return ["stale"]
        if job["state"] == "running":
            return ["adopted", job["prediction"]]
        twins = [n for n in self.slots() if n != name and self.jobs.get(n, {}).get("input") == job["input"]]
        if any(self.jobs[twin]["state"] == "submitting" for twin in twins):
            return ["ambiguous"]
        # What another attempt has had is not this one's, also when it was an attempt of the same job.
        me = f"{name}:{attempt}"
        free = [prediction for prediction in argv[4:] if self.owners.get(prediction, me) == me]
        if len(free) != 1:
            return ["ambiguous"] if free else ["none"]
        job.update(state="running", prediction=free[0], overdue_at=now)
        self.owners[free[0]] = me
        self.index[name] = job["queue_number"] * BAND + now
        self.counters["adopted"] += 1
        return ["adopted", free[0]]

    def rehome(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        members = self.sets.setdefault(keys[3].removeprefix(f"{PREFIX}u:"), set())
        homes = 0
        for name in {*members, *argv[1:]}:
            job = self.jobs.get(name)
            if not job or job["state"] == "done":
                members.discard(name)
            elif name not in self.index:
                homes += 1
                self.index[name] = self._home(job, int(argv[0]))
                members.add(name)
        if homes:
            self.counters["rehomed"] += homes
        return ["checked", str(homes), reply[2]]

    @staticmethod
    def _home(job: dict[str, Any], now: int) -> int:
        queue: int = job["queue_number"]
        match job["state"]:
            case "queued":
                return (READY + queue) * BAND + int(job["score"])
            case "delayed":
                return DELAYED * BAND + int(job["due_at"])
            case _:
                return queue * BAND + now

    def stats(self, keys: list[str], argv: list[str], reply: Any) -> Any:
        counts = [len(part) for k in range(len(NAMES)) for part in (self.in_band(k), self.ready(k))]
        return [len(self.in_band(DELAYED)), len(self.dead), counts, reply[3]]


def reply_part(rows: Any, name: str, place: int) -> str:
    """A value the model takes as given from the row of this name."""
    return next((str(row[place]) for row in rows if row[0] == name), "?")


class Violation(AssertionError):
    """The store did something the model does not allow."""


class JudgedStore:
    """Memory mode under the model's eyes: every EVAL that anybody sends is compared with the model at once."""

    def __init__(self, model: Model) -> None:
        self._inner = MemoryStore()
        self.model = model
        self.previous = View()  # the store at last sight
        self.sent: list[tuple[tuple[str, ...], Any]] = []  # EVALs and their replies
        self.starts: dict[tuple[int, str, int], str] = {}  # who was told to submit an attempt
        self.loses_answers = False
        self.epoch = 0
        self.lives: Counter[str] = Counter()  # how often a job's key was evicted
        self.failure: BaseException | None = None

    async def execute(self, *command: str) -> Any:
        """Executes and judges. A failure is kept as well as raised: production code survives one job's trouble."""
        await asyncio.sleep(0)  # a network call: others may come in between
        try:
            if command[0] != "EVAL":
                return await self._inner.execute(*command)
            reply = await self._evaluate(command)
            return await self.again() if self.loses_answers else reply
        except BaseException as error:
            self.failure = self.failure or error
            raise

    async def _evaluate(self, command: tuple[str, ...]) -> Any:
        reply = await self._inner.execute(*command)
        self.sent.append((command, reply))
        await self._judge(command, reply)
        return reply

    async def again(self) -> Any:
        """The reply to the last EVAL when it is sent again: it changes nothing, and says what matters again."""
        (command, first), before, verb = self.sent[-1], self.previous, VERB_OF[self.sent[-1][0][1]]
        reply = await self._evaluate(command)
        # A claim that started nothing has left nothing to be recognised by: it is a new one.
        if verb != "claim" or first[0]:
            assert self.previous == before, f"a repeated {verb} changed something"
            assert same_news(verb, first, reply), f"a repeated {verb} answered {reply} after {first}"
        return reply

    async def close(self) -> None:
        await self._inner.close()

    def submission(self, job: str, attempt: int) -> tuple[int, str, int]:
        """What one attempt is told by, also after its number was handed out again."""
        return self.epoch, f"{job}/{self.lives[job]}", attempt

    async def raw(self, *command: str) -> Any:
        return await self._inner.execute(*command)

    async def _judge(self, command: tuple[str, ...], reply: Any) -> None:
        verb, count = VERB_OF[command[1]], int(command[2])
        keys, argv = list(command[3 : 3 + count]), list(command[3 + count :])
        expected = getattr(self.model, verb)(keys, argv, reply)
        view = View.of(await self.content())
        if verb == "claim":
            self.model.settle(view, int(argv[2]))
        if bare(reply) != bare(expected):
            raise Violation(f"{verb} {argv[:14]} answered {reply}, the model says {expected}")
        self._count_starts(verb, argv, reply)
        self.inspect(view)

    def _count_starts(self, verb: str, argv: list[str], reply: Any) -> None:
        """Each attempt is handed to one caller only. A caller is told by its token."""
        if verb == "enqueue" and reply[0] == "started":
            started = [(argv[0], 1)]
            token = argv[1]
        else:
            started = [(row[0], int(row[1])) for row in reply[0]] if verb == "claim" else []
            token = argv[0]
        for name, attempt in started:
            assert self.starts.setdefault(self.submission(name, attempt), token) == token, (
                f"attempt {attempt} of {name} was handed out twice"
            )

    def inspect(self, view: View) -> None:
        """Compares the store with the model, and each with the invariants."""
        compare(view, self.model)
        relax(self.model)
        hold(view, self.model)
        follow(self.previous, view)
        self.previous = view

    async def content(self) -> Content:
        """Every key with its type, value and TTL."""
        found: Content = {}
        for key in await self.raw("KEYS", f"{PREFIX}*"):
            kind, read = KINDS[key.removeprefix(PREFIX).partition(":")[0]]
            value = await self.raw(*(part.replace("KEY", key) for part in read))
            has_ttl = key.startswith((f"{PREFIX}j:", f"{PREFIX}o:"))
            found[key] = (
                kind,
                value if kind == "string" else hash_of(value),
                await self.raw("PTTL", key) if has_ttl else -1,
            )
        return found

    async def put_back(self, content: Content) -> None:
        """Makes the store hold this and nothing else."""
        await self.raw("FLUSHALL")
        for key, (kind, value, ttl) in content.items():
            if kind == "string":
                await self.raw("SET", key, value)
            elif kind == "zset":
                await self.raw("ZADD", key, *(part for member, score in value.items() for part in (score, member)))
            else:
                await self.raw("HSET", key, *(part for pair in value.items() for part in pair))
            if ttl > 0:
                await self.raw("PEXPIRE", key, str(ttl))
        self.epoch += 1


VERB_OF = {script(verb).text: verb for verb in VERBS}
ZSET, HASH = ("ZRANGE", "KEY", "0", "-1", "WITHSCORES"), ("HGETALL", "KEY")
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {  # by the part of a key behind the prefix: type, how to read it
    "z": ("zset", ZSET), "d": ("zset", ZSET), "u": ("zset", ZSET), "j": ("hash", HASH), "st": ("hash", HASH),
    "o": ("string", ("GET", "KEY")),
}  # fmt: skip


def bare(reply: Any) -> Any:
    """The reply without empty words at its end, which say as much as their absence."""
    while isinstance(reply, list) and reply and reply[-1] == "":
        reply = reply[:-1]
    return reply


def compare(view: View, model: Model) -> None:
    """The store holds what the model says."""
    assert view.index == model.index
    assert set(view.jobs) == set(model.jobs)
    for name, job in model.jobs.items():
        expected = {part: str(job.get(part, "")) for part in MODELLED}
        assert {part: view.jobs[name].get(part, "") for part in MODELLED} == expected, name
    assert view.sets == {user: members for user, members in model.sets.items() if members}
    assert view.owners == model.owners
    assert view.counters == {name: str(count) for name, count in model.counters.items()}
    assert view.dead == model.dead


def relax(model: Model) -> None:
    """Takes back the relaxations that are no longer needed."""
    model.ghosts &= set(model.index)
    model.strays &= {(user, member) for user, members in model.sets.items() for member in members}
    model.unset &= {n for n in model.live if n not in model.sets.get(f"app:{model.jobs[n]['user']}", set())}
    model.unindexed &= model.live - set(model.index)
    model.is_overbooked = bool(model.unindexed) or (model.is_overbooked and not within_limits(model.index))


def within_limits(index: dict[str, int]) -> bool:
    taken = Counter(score // BAND for score in index.values() if score < READY * BAND)
    return sum(taken.values()) <= LIMIT and all(taken[k] <= limit for k, limit in enumerate(CONCURRENCY))


def hold(view: View, model: Model) -> None:
    """The invariants hold in the store, apart from what evictions have taken."""
    live = {name: job for name, job in view.jobs.items() if job["state"] != "done"}
    # Where a live job is, and that a terminal one is nowhere.
    assert set(view.index) - set(live) <= model.ghosts
    assert set(live) - set(view.index) <= model.unindexed
    for name in set(live) & set(view.index):
        assert view.index[name] // BAND in bands_of(live[name]), f"{name} is in a band its state does not say"
    # Limits and quotas
    assert within_limits(view.index) or model.is_overbooked
    for user in {f"app:{job['user']}" for job in live.values()} | set(view.sets):
        own = {name for name, job in live.items() if f"app:{job['user']}" == user}
        members = view.sets.get(user, set())
        assert {(user, member) for member in members - own} <= model.strays
        assert own - members <= model.unset
    # Only terminal jobs expire.
    assert all(view.has_ttl[name] == (job["state"] == "done") for name, job in view.jobs.items())


def bands_of(job: dict[str, str]) -> tuple[int, ...]:
    queue = int(job["queue_number"])
    match job["state"]:
        case "queued":
            return (READY + queue,)
        case "delayed":
            return (DELAYED,)
        case _:
            return (queue,)


def follow(before: View, after: View) -> None:
    """Between two scripts jobs move along the allowed ways only, attempts grow, and what is terminal stands still."""
    for name, job in after.jobs.items():
        old = before.jobs.get(name, {})
        if old.get("state") == "done":
            assert job == old, f"{name} was terminal and changed"
        elif old.get("state", "") != job["state"]:
            assert (old.get("state", ""), job["state"]) in ALLOWED
        assert int(job["attempt"]) - int(old.get("attempt", "0")) in (0, 1)


class WatchedProvider(ObedientProvider):
    """Creates predictions that the machine knows, at most one an attempt, and finishes them when told to hurry."""

    def __init__(self, make: Callable[[str, int], str]) -> None:
        super().__init__()
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
            self.states[prediction_id] = Prediction(prediction_id, "completed", output="late")
        return await super().get(prediction_id, timeout)

    async def find(self, wanted: Wanted, timeout: float) -> list[str]:
        listed = [(name, *what) for name, what in self.made.items() if wanted.since <= what[1] <= wanted.until]
        return [name for name, prompt, _ in listed if prompt == wanted.input["prompt"]] if self.lists else []


def same_news(verb: str, first: Any, again: Any) -> bool:
    """Whether a repeat tells its caller what the lost answer would have told him."""
    match verb:
        case "claim":
            return sorted(first[0]) == sorted(again[0])
        case "enqueue" | "rehome":
            return bool(first[0] == again[0])  # the position, or how many came back, is told once
        case "check":
            return bool(again == ["wait"])  # one caller asks; a lost answer costs patience
        case "finish" if first[0] == "finished":
            return bool(again == ["already", *first[1:]])
        case _:
            return bool(first == again)


@dataclass(frozen=True)
class Caller:
    """A process: its clock's error in ms, and whether the store's answers to it are lost once each, and so repeated."""

    skew: int = 0
    loses_answers: bool = False


SOUND = Caller()


@dataclass
class Held:
    """A claim in somebody's hands, who may act on it at once, late, twice or never."""

    job: str
    attempt: int


def outcomes() -> st.SearchStrategy[list[SubmissionOutcome]]:
    """What the provider says to the next creates; it accepts when nothing is left."""
    refusals = [Throttled("rate_limited", 5), Unknown("timeout"), Rejected("invalid_input", "no")]
    return st.lists(st.sampled_from(refusals), max_size=2)


CALLERS = st.sampled_from(
    [
        SOUND,
        SOUND,
        Caller(MAX_SKEW),
        Caller(-MAX_SKEW),
        Caller(loses_answers=True),
        Caller(MAX_SKEW, loses_answers=True),
    ]
)
ACTS = st.sampled_from(
    ["record", "record", "another", "reject", "snooze", "put back", "rescue", "completed", "canceled", "failed"]
)
SUBMISSIONS = st.sampled_from([[Unknown("timeout")] * LIMIT, [Throttled("rate_limited", 5)] * LIMIT, []])
SLOTS = st.integers(0, 10)
PICKS = st.integers(0, 10**6)
REQUESTS = st.tuples(st.sampled_from(USERS), st.sampled_from(NAMES), st.sampled_from([1, 3, 5]))
ERRORS = ["CUDA out of memory", "CUDA out of memory", "CUDA out of memory", "NSFW content"]


class QueueMachine(RuleBasedStateMachine):
    """Callers, providers and faults in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.store = JudgedStore(Model())
        self.sluice = Runtime(SETTINGS, self.store, self.clock)
        self.provider = WatchedProvider(self.prediction_of)
        self.sluice.providers._loaded["replicate"] = self.provider
        self.queue = self.sluice.queue
        self.requests: dict[str, tuple[str, str, int]] = {}
        self.held: list[Held] = []
        self.predictions: dict[str, tuple[int, str, int]] = {}  # whose: epoch, life of a job and attempt
        self.snapshots: list[tuple[Content, Model]] = []
        self.lost_something = False

    # Helpers

    @property
    def model(self) -> Model:
        return self.store.model

    def run(self, work: Coroutine[Any, Any, Any], caller: Caller = SOUND) -> Any:
        """The work's result, None if it was refused as it may be; raises what the judge found on the way."""
        self.clock.skew, self.store.loses_answers = caller.skew, caller.loses_answers
        try:
            return self.loop.run_until_complete(work)
        except (JobNotFound, IdempotencyConflict, UserLimitReached, QueueFull):
            return None
        finally:
            if self.store.failure is not None:
                raise self.store.failure

    def prediction_of(self, job: str, attempt: int) -> str:
        """The attempt's prediction, created now if the provider has none."""
        whose = self.store.submission(job, attempt)
        for known, owner in self.predictions.items():
            if owner == whose:
                return known
        name = f"p{len(self.predictions)}"
        self.predictions[name] = whose
        self.provider.states[name] = Prediction(name, "running")
        created_at = datetime.fromtimestamp(self.clock.true_now / 1000, UTC)
        self.provider.made[name] = (prompt_of(self.requests[job][0] if job in self.requests else ""), created_at)
        return name

    def jobs(self, *states: str) -> list[str]:
        return sorted(name for name, job in self.model.jobs.items() if job["state"] in states or not states)

    def is_current(self, claim: Held) -> bool:
        """Whether the claim is still honoured."""
        return claim.job in self.jobs("submitting") and claim.attempt == self.attempt_of(claim.job)

    def a_job(self, pick: int, *states: str) -> str:
        """Mostly a job in one of these states, sometimes any; one that does not exist if there is none."""
        fitting = self.jobs(*states) if pick % 8 else self.jobs()
        return fitting[pick // 8 % len(fitting)] if fitting else "job_nobody"

    def attempt_of(self, job: str) -> int:
        return int(self.model.jobs.get(job, {}).get("attempt", 0))

    # Submitting

    @initialize(requests=st.lists(REQUESTS, min_size=1, max_size=6))
    def some_jobs(self, requests: list[tuple[str, str, int]]) -> None:
        for slot, request in enumerate(requests):
            self.submit(slot, request, False, False, SOUND)

    @rule(
        slot=SLOTS,
        request=REQUESTS,
        start=st.sampled_from([True, True, False]),
        conflicts=st.booleans(),
        caller=CALLERS,
    )
    def submit(self, slot: int, request: tuple[str, str, int], start: bool, conflicts: bool, caller: Caller) -> None:
        """A new job, or again one that was submitted before, with the same request or another."""
        name = f"job{slot}"
        request = request if conflicts else self.requests.get(name, request)
        user, queue, rank = request
        asked = SubmitRequest(
            model="acme/video", input={"prompt": prompt_of(user)}, user_id=user, queue=queue, priority=rank
        )
        now = self.clock.true_now + caller.skew
        fields = asked.fields(SETTINGS, "app", NAMES.index(queue), now)
        score = asked.score(SETTINGS, now)
        work = self.queue.enqueue(name, asked.fingerprint(), fields, score=score, start=start)
        admitted = self.run(work, caller)
        if admitted is not None:
            self.requests[name] = request
        if admitted is not None and admitted.word == "started":
            self.held.append(Held(name, 1))

    @rule(want=st.integers(1, 3), requests=st.sampled_from([1, 1, 2]), caller=CALLERS)
    def claim(self, want: int, requests: int, caller: Caller) -> None:
        """One request of a process claims, or two at once: no job is handed to both."""

        async def at_once() -> list[Claim]:
            return await asyncio.gather(*(self.queue.claim(want) for _ in range(requests)))

        taken = [Held(job.id, job.attempt) for claim in self.run(at_once(), caller) for job in claim.started]
        assert len(taken) == len({claim.job for claim in taken}), f"two requests of one process were given {taken}"
        self.held += taken

    @precondition(lambda self: self.held)
    @rule(pick=PICKS, how=ACTS, caller=CALLERS)
    def act_on_a_claim(self, pick: int, how: str, caller: Caller) -> None:
        """The newest claim more often than older ones, which may be stale by now; each may be acted on again."""
        self.act(self.held[-1] if pick % 2 else self.held[pick // 2 % len(self.held)], how, caller)

    def act(self, claim: Held, how: str, caller: Caller) -> None:
        job, attempt = claim.job, claim.attempt
        match how:
            case "record":
                self.run(self.queue.record(job, attempt, self.prediction_of(job, attempt), 30), caller)
            case "another":
                self.provider.states["another"] = Prediction("another", "running")
                self.run(self.queue.record(job, attempt, "another"), caller)
            case "reject":
                self.run(self.queue.fail(job, attempt, "", code="x", detail="", retryable=False), caller)
            case "snooze":
                self.run(self.queue.snooze(job, attempt, delay=5, code="x"), caller)
            case "put back":
                token = self.store.starts.get(self.store.submission(job, attempt), "another")
                self.run(self.queue.snooze(job, attempt, delay=0, code="x", token=token), caller)
            case "rescue":
                self.run(self.queue.rescue(job, attempt), caller)
            case "completed" | "canceled" | "failed":
                self.tell(job, attempt, Prediction("", how, error=ERRORS[0]), caller)

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
        self.provider.lists = False  # or what was lost would be adopted, and not tried again
        for outcomes in meanwhile:
            self.clock.advance((LEASE + ADOPTION) / 1000 + 1)
            self.tick(outcomes, SOUND)
        self.provider.lists = True
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

    def tell(self, job: str, attempt: int, said: Prediction, caller: Caller) -> None:
        """The provider says this of the attempt's prediction, or of the one that is named."""
        if not said.id:
            said = replace(said, id=self.prediction_of(job, attempt))
            self.provider.states[said.id] = said
        self.run(self.sluice.reconciler.apply(job, attempt, "replicate", said), caller)

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
        tried = [name for name in self.jobs("submitting", "running", "delayed") if self.attempt_of(name) > age]
        if age and tried:
            job = tried[pick % len(tried)]
        attempt = max(1, self.attempt_of(job) - age)
        said = Prediction("px" if foreign else "", status, output=[job], error=error, progress=pick % 100)
        self.tell(job, attempt, said, caller)

    @rule(pick=PICKS, is_silent=st.booleans(), caller=CALLERS)
    def poll(self, pick: int, is_silent: bool, caller: Caller) -> None:
        """The owner reads the status, which repairs; what it shows is what the model says."""
        job = self.a_job(pick, "running", "delayed", "queued")
        self.provider.is_silent = is_silent
        self.sluice.statuses.forget(job)
        seen = self.run(self.sluice.statuses.view("app", job), caller)
        self.provider.is_silent = False
        assert (seen is None) == (job not in self.model.jobs)
        if seen is not None:
            known = self.model.jobs[job]
            expected = {**PUBLIC_STATUS, "done": known.get("outcome")}[known["state"]]
            assert json.loads(seen.value.body)["status"] == expected

    @rule(pick=PICKS, owner=st.sampled_from(["app", "app", "app", "other"]), is_silent=st.booleans(), caller=CALLERS)
    def cancel(self, pick: int, owner: str, is_silent: bool, caller: Caller) -> None:
        self.provider.is_silent = is_silent
        job = self.a_job(pick, "running", "submitting", "queued", "delayed")
        self.run(self.sluice.cancellation.cancel(owner, job, Budget(60)), caller)
        self.provider.is_silent = False

    # What brings things back

    @rule(outcomes=outcomes(), caller=CALLERS)
    def tick(self, outcomes: list[SubmissionOutcome], caller: Caller) -> None:
        self.provider.outcomes = outcomes.copy()
        self.run(self.sluice.tick.run(), caller)
        self.provider.outcomes = []

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
            for key in self.run(self.records.walk_users(1000)):
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
            self.held += [Held(row[0], int(row[1])) for row in reply[0]]

    @rule(what=st.sampled_from(["job", "user", "index"]), pick=PICKS)
    def evict(self, what: str, pick: int) -> None:
        """The store loses a key: a job, a user's set or the index."""
        model = self.model
        if what == "job" and model.jobs:
            name = sorted(model.jobs)[pick % len(model.jobs)]
            self.store.lives[name] += 1
            del model.jobs[name]
            model.ghosts.add(name)
            model.strays |= {(user, name) for user, members in model.sets.items() if name in members}
            self._lose(self.queue.keys.job(name))
        elif what == "user":
            user = USERS[pick % len(USERS)]
            model.unset |= model.sets.pop(f"app:{user}", set())
            self._lose(self.queue.keys.user("app", user))
        elif what == "index":
            model.unindexed |= model.live
            model.index.clear()
            self._lose(self.queue.keys.index)

    def _lose(self, key: str) -> None:
        self.lost_something = True
        self.run(self.store.raw("DEL", key))
        self._look_again()

    def _look_again(self) -> None:
        """Compares after a fault, whose own change is no job's move."""
        self.store.previous = view = View.of(self.run(self.store.content()))
        self.store.inspect(view)

    @rule()
    def take_a_snapshot(self) -> None:
        self.snapshots = [*self.snapshots[-2:], (self.run(self.store.content()), copy.deepcopy(self.model))]

    @precondition(lambda self: self.snapshots)
    @rule(pick=PICKS)
    def restore(self, pick: int) -> None:
        """A failover: the store is what it was a while ago, and nobody else is."""
        content, model = self.snapshots[pick % len(self.snapshots)]
        self.store.model = copy.deepcopy(model)
        self.run(self.store.put_back(content))
        self._look_again()

    @rule(seconds=st.sampled_from([5, 20, 45, 95]))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)

    # The end

    def teardown(self) -> None:
        """Faults stop, and within a computed number of ticks every job has ended."""
        try:
            if self.store.failure is None:
                self._come_to_an_end()
        finally:
            self.loop.run_until_complete(self.sluice.close())
            self.loop.close()

    def _come_to_an_end(self) -> None:
        self.provider.hurries = True
        allowed = most_ticks(len(self.model.live), self.lost_something)
        ticks = 0
        while self.model.live or self.model.index or any(self.model.sets.values()):
            ticks += 1
            assert ticks <= allowed, f"not over after {allowed} ticks: {self.model}"
            self.clock.advance(SETTINGS.tick_period)
            self.tick([], SOUND)
            # No tick finds what both the index and its user's set have lost; whoever reads its status does.
            for job in sorted(self.model.unset & self.model.unindexed):
                self.poll(self.jobs().index(job) * 8, False, SOUND)


def most_ticks(live: int, lost_something: bool) -> int:
    """How many ticks suffice once nothing goes wrong any more.

    The longest that any job can make others wait is a lost submission: lease, adoption window and one check, seen by
    clocks that differ. Then each live job needs at most two ticks, one that starts it and one that asks about it. After
    a loss there is a sweep every 15 ticks, and one after the jobs have ended.
    """
    patience = (LEASE + ADOPTION + CHECK + 2 * MAX_SKEW) / (SETTINGS.tick_period * 1000)
    return round(patience) + 2 * live + 1 + (2 * 15 if lost_something else 0)


@pytest.fixture
def quiet_logs() -> Iterator[None]:
    """Nothing is written to the log: the faults here would fill it."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("quiet_logs")
@pytest.mark.timeout(300)
def test_the_verbs_do_what_the_model_says_and_every_job_ends() -> None:
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            derandomize=True,
            stateful_step_count=30,
            max_examples=200,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
