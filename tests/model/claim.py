"""The expected effect of claim: start the best jobs, hand out overdue runs and jobs that waited too long."""

from collections import Counter
from typing import Any

from shared.jobqueue.constants import ALARMS, BAND, DELAYED, FIRST_TAG, MAX_CIRCUIT_AGE, READY
from tests.model.call import Call
from tests.model.circuits import circuit_of, circuits_of, failures_of, runs_of
from tests.model.deployment import provider_of, queue_of
from tests.model.refusals import known_of, suspicion
from tests.model.state import Job, Model, Row, user_of
from tests.model.users import is_any_shut, is_released, is_shut, release_next

MAX_EXPIRED = 100
MIN_HELD, HELD_GAP, MAX_HELD = 60_000, 10_000, 900_000
MAX_LOOKS = 50  # more than this model has


def claim(model: Model, call: Call, reply: Any) -> Any:
    time, want = call.number("lease_now"), call.number("want")
    lease = time + model.deployment.lease
    age = call.number("patience") + call.number("ticket_age")
    first, last = (lease - age) // 1000 * 1000, lease // 1000 * 1000 + 999
    rows, complete, _ = model.head(want, (first, last))
    slots = [row for row in rows if row.band < READY]
    mark, leases = call.number("mark"), [row for row in slots if first <= row.ms <= last]
    mine = [r for r in leases if r.ms % 1000 == mark and model.jobs.get(r.id, {}).get("token") == call["token"]]
    if mine:
        again = [r.id for r in mine if model.jobs[r.id]["state"] == "submitting"]
        return [[_started(name, model.jobs[name]) for name in again], [], "0", [], "0", "0", [], [], ""]
    lost: list[str] = []
    old = [n for n, s in model.index.items() if n.startswith("~o") and s + BAND < time - MAX_CIRCUIT_AGE]
    handed = _hand_out([row for row in slots if row.ms <= time][:want], model, call, lost, reply)
    expired = _expired(model, call, rows, complete)
    candidates = _candidates(model, call, rows, complete, lost)
    stuck = set(_stuck(model, time)) if call["is_tick"] == "1" else set()
    starts = Starts(model, call, lost, expired)
    started, parked = starts.run(candidates)
    stuck |= starts.stuck
    model.drop(lost)
    for owner in starts.passed_on:
        release_next(model, owner, call.number("now"))
    for gate in old if call["is_tick"] == "1" else ():
        model.index.pop(gate, None)
    scale = call["scale"]
    if scale and model.gate(f"~s{scale}") != 0:
        model.set_gate(f"~s{scale}", 0)
    follow_ups = len(model.outbox) if call["is_tick"] == "1" else 0
    return [started, handed, str(len(lost)), expired, str(parked), str(follow_ups), sorted(stuck), [], ""]


def _started(name: str, job: Job) -> list[str]:
    asked = [
        job.get(part, "")
        for part in ("lane", "model", "input", "owner", "user", "queue", "deadline", "probe", "incarnation")
    ]
    return [name, *(str(part) for part in (job["attempt"], *asked))]


def _hand_out(rows: list[Row], model: Model, call: Call, lost: list[str], reply: Any) -> list[list[str]]:
    handed = []
    for row in rows:
        job = model.jobs.get(row.id)
        if job is None:
            lost.append(row.id)
            continue
        said = [job.get("submitted_at", "0"), job.get("cancel_requested", "0"), job["deadline"], ""]
        said = [row.id, job["attempt"], row.band, job["state"], job.get("prediction", ""), *said]
        handed.append([str(part) for part in said])
        job["checked_at"] = call.number("now")
        model.put_slot(row.id, (call.number("lease_now") + model.deployment.check) // 1000 * 1000)
    return handed


def _expired(model: Model, call: Call, rows: list[Row], complete: bool) -> list[str]:
    """The jobs with a due alarm: as many as any claim sees, and more if a tick asks for more."""
    time = call.number("lease_now")
    ringing = [row for row in rows if row.band == ALARMS and row.ms <= time]
    if call["is_tick"] == "1" and not complete:
        ringing = [row for row in model.rows() if row.band == ALARMS and row.ms <= time][:MAX_EXPIRED]
    return [row.id[1:] for row in ringing]


def _candidates(
    model: Model, call: Call, rows: list[Row], complete: bool, lost: list[str]
) -> list[tuple[int, str, bool]]:
    """The candidates, best first: score, id, and whether the job was delayed."""
    time, want = call.number("lease_now"), call.number("want")
    room = model.room(time)
    if min(room.all, want) <= 0:
        return []
    everything = model.rows()
    due = [row.id for row in everything if row.band == DELAYED and row.ms <= time]
    if not complete:
        has_circuit = any(row.id.startswith("~o") and "|" not in row.id for row in everything)
        due = due[: max(want, MAX_LOOKS) if has_circuit else want]
    found = [(model.jobs[name]["score"], name, True) for name in due if name in model.jobs]
    lost += [name for name in due if name not in model.jobs]
    for lane in model.deployment.lanes:
        if room.has(lane):
            ready = [row for row in everything if row.band == READY + lane]
            # At least so many are examined, of those behind the rows that it sees anyway
            need = min(room.all, want, room.queue[queue_of(lane)], room.provider[provider_of(lane)])
            if provider_of(lane) in room.probe or any(_is_half_open(row, time) for row in everything):
                need = MAX_LOOKS
            seen = len(ready) if complete else max(need, len({r.id for r in ready} & {r.id for r in rows}))
            found += [(row.ms, row.id, False) for row in ready[:seen]]
    return sorted(found)


def _is_half_open(row: Row, time: int) -> bool:
    """Whether it is the circuit of a model, for all users, whose time is over."""
    return row.id.startswith("~o") and "|" not in row.id and row.ms <= time


def _stuck(model: Model, time: int) -> list[str]:
    """The users of some ready jobs of a lane that is shut, if others wait for their seats."""
    shut = [lane for lane in model.deployment.lanes if is_shut(model, lane, "", "", time)]
    if not shut:
        return []
    found = [row.id for row in model.rows() if row.band == READY + shut[time % len(shut)]]
    first = 10 * ((time // len(shut)) % max(1, -(-len(found) // 10)))
    jobs = [model.jobs[name] for name in found[first : first + 10] if name in model.jobs]
    return [user_of(job) for job in jobs if _has_heirs(model, job)]


def _has_heirs(model: Model, job: Job) -> bool:
    return bool(job["heirs"] == "1" and model.user(user_of(job)).waiting)


class Starts:
    """Goes through the candidates and does with each what the limits, its circuit and its age allow."""

    def __init__(self, model: Model, call: Call, lost: list[str], expired: list[str]) -> None:
        self.model, self.call, self.lost, self.expired = model, call, lost, expired
        self.time = call.number("lease_now")
        self.room = model.room(self.time)
        self.room.all = min(self.room.all, call.number("want"))
        self.lease_until = (self.time + model.deployment.lease) // 1000 * 1000 + call.number("mark")
        self.probed: set[str] = set()
        self.probers: dict[str, str] = {}  # by circuit
        self.started: list[list[str]] = []
        self.granted: Counter[int] = Counter()
        self.parked = 0
        self.held_before: dict[str, int] = {}
        self.new_held: Counter[str] = Counter()
        self.passed_on: list[str] = []  # keys of which another held job may start
        self.stuck: set[str] = set()
        self.gates = {row: model.gate(row) for row in model.index}
        self.tag = model.gate("~v") or FIRST_TAG
        shares = {job["share"] for job in model.jobs.values()}
        self.amid = {share: str(int(is_any_shut(model, self.time, share))) for share in shares}  # before any probe

    def run(self, candidates: list[tuple[int, str, bool]]) -> tuple[list[list[str]], int]:
        alarmed = set(self.expired)
        lanes = {
            name: self.model.jobs[name]["lane"] if is_due else int(self.model.index[name]) // BAND - READY
            for _, name, is_due in candidates
        }
        held = self._held(lanes)
        self._choose_probes([name for name, lane in lanes.items() if self.room.has(lane) and name not in held])
        for score, name, is_due in candidates:
            lane = lanes[name]
            if not self.room.has(lane) or name in alarmed or name in held:
                if is_due:
                    self.model.put(name, READY + lane, score)
                    self.model.jobs[name]["state"] = "queued"
            elif name not in self.model.jobs:
                self.lost.append(name)
            elif self.model.jobs[name]["expire_at"] <= self.time:
                self.expired.append(name)
            else:
                self._start(name, score)
        for provider, count in self.granted.items():
            self.model.take_tokens(provider, count, self.time)
        if self.started and self.model.deployment.is_fair:
            self.model.set_gate("~v", self.tag)
            self.model.set_gate("~w", self.time)
        return self.started, self.parked

    def _held(self, lanes: dict[str, int]) -> set[str]:
        """The candidates that wait because another one is the probe of their provider."""
        held: set[str] = set()
        for provider in self.room.probe:
            if self.room.provider[provider] <= 0:
                continue
            own = [name for name, lane in lanes.items() if provider_of(lane) == provider and self.room.has(lane)]
            known, fit = known_of(self.model, provider), [name for name in own if self._is_fit(name)]
            found = {name: suspicion(known, self.model.jobs[name]) for name in fit}
            probe = min(fit, key=lambda name: found[name], default="")
            if probe and found[probe] == 0:
                held |= {*fit, *own[own.index(probe) :]} - {probe}
            elif probe:
                must_wait = self.time < int(known.get("suspects_until", 0))
                held |= set(fit) - (set() if must_wait else {probe})
        return held

    def _is_fit(self, name: str) -> bool:
        job = self.model.jobs.get(name)
        if job is None or job["expire_at"] <= self.time:
            return False
        is_open = any((self.gates.get(gate) or 0) > self.time for gate in circuits_of(job))
        return not is_open and not self._is_held(job)

    def _choose_probes(self, free: list[str]) -> None:
        """The first candidate for each model's circuit of a user without failures, and without a failure itself."""
        best: dict[str, int] = {}
        for name in free:
            job = self.model.jobs.get(name)
            if job is None or not self._is_fit(name) or self.gates.get(circuit_of(job)) is None:
                continue
            has_failures = failures_of(self.model.runs.get(runs_of(job), {}), job["share"]) is not None
            unfitness = 2 * has_failures + bool(job.get("error_code"))
            if unfitness < best.get(circuit_of(job), 4):
                best[circuit_of(job)] = unfitness
                self.probers[circuit_of(job)] = name

    def _judge(self, name: str, job: Job) -> tuple[int | None, list[str]]:
        """Until when a circuit keeps it from starting, or None; and the circuits that it probes."""
        probes = []
        for gate in circuits_of(job):
            open_until = self.gates.get(gate)
            if open_until is not None and open_until > self.time:
                return open_until, []
            if open_until is not None and (gate in self.probed or self.probers.get(gate, name) != name):
                return self.time + self.model.deployment.check, []
            probes += [] if open_until is None else [gate]
        return None, probes

    def _start(self, name: str, score: int) -> None:
        job = self.model.jobs[name]
        provider, probe = provider_of(job["lane"]), ""
        open_until, probes = self._judge(name, job)
        if open_until is not None:
            self.parked += 1
            self.passed_on += [job["owner"]] if is_released(job) else []
            job.update(state="delayed", due_at=open_until, snooze_code="circuit_open")
            if _has_heirs(self.model, job):
                self.stuck.add(user_of(job))
            self.model.put(name, DELAYED, open_until)
            return
        if self._is_held(job):
            self.parked += 1
            held = self.model.held.setdefault(job["owner"], {})
            self.new_held[job["owner"]] += 1
            count = self.held_before.setdefault(job["owner"], len(held)) + self.new_held[job["owner"]]
            due_at = self.time + min(max(count * HELD_GAP, MIN_HELD), MAX_HELD)
            job.update(state="delayed", due_at=due_at, snooze_code="key_limit")
            self.model.put(name, DELAYED, due_at)
            held[name] = score
            return
        # One submission may probe a model and its provider.
        for gate in (*probes, *([f"~p{provider}"] if provider in self.room.probe else [])):
            probe = gate
            self.probed.add(gate)
            self.model.set_gate(gate, self.lease_until)
        job.update(
            state="submitting", attempt=job["attempt"] + 1, token=self.call["token"], prediction="", progress="",
            lease_until=self.lease_until, adopt_until=self.lease_until + job["adoption"], probe=probe,
            submitted_at=self.call.number("now"), bounded="1" if self.call["key_tasks"] else "0",
            amid=self.amid[job["share"]],
        )  # fmt: skip
        self.model.put(name, job["lane"], self.lease_until)
        self.model.account(name)
        self.room.take(job["lane"])
        self.granted[provider] += 1
        self.tag = max(self.tag, score)
        self.started.append(_started(name, job))

    def _is_held(self, job: Job) -> bool:
        """Whether the job's API key has all the slots that it may have."""
        allowed = self.call["key_tasks"]
        return bool(allowed) and self.model.slots_of_key(int(job["share"])) >= int(allowed)
