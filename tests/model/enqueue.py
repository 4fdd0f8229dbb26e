"""The expected effect of enqueue."""

from typing import Any

from shared.jobqueue.constants import (
    ALARMS,
    BACKLOG,
    DELAYED,
    FIRST_TAG,
    HISTORY,
    READY,
    SEATED,
    SPECIAL,
    USERS_OF_KEY,
    WAITING_SHARES,
)
from tests.model import spending
from tests.model.call import Call, hash_of
from tests.model.circuits import circuits_of
from tests.model.deployment import provider_of, queue_of
from tests.model.state import Job, Model, Row
from tests.model.users import demote, idle_of, is_any_shut, is_idle

MAX_CHECKED = 10  # members of a user's set that are looked at before a refusal
NUMBERS = ("lane", "score", "max_attempts", "retry_delay", "adoption", "expire_at", "created_at", "priority")


def enqueue(model: Model, call: Call, reply: Any) -> Any:
    known = model.jobs.get(call["id"])
    if known:
        return _repeated(known, call)
    refused = _refusal(model, call)
    if refused:
        return refused
    submission = Submission(model, call)
    starts = submission.may_start()
    if refused := spending.refusal(model, call):
        return refused
    answer = submission.start() if starts else submission.wait()
    if answer[0] in ("started", "queued", "backlog"):
        spending.reserve(model, call)
    return answer


def _repeated(known: Job, call: Call) -> Any:
    if known["fingerprint"] != call["fingerprint"]:
        return ["conflict"]
    if known["token"] != call["token"]:
        return ["duplicate"]
    return ["started", "0"] if (known["state"], known["attempt"]) == ("submitting", 1) else ["queued", "", "1"]


def _refusal(model: Model, call: Call) -> Any:
    """Why the user may not have another job; this check frees the places of lost jobs."""
    for is_last in (False, True):
        user = model.user(call.user)
        tasks, allowed = len(user.admitted) + len(user.waiting), max(call.number("user_queued"), user.cap)
        if tasks < allowed:
            return None
        if is_last:
            return ["user_limit", str(tasks), str(allowed)]
        first = call.number("now") % (tasks - MAX_CHECKED + 1) if tasks > MAX_CHECKED else 0
        members = [name for name, _ in model.ranked(call.user)][first : first + MAX_CHECKED]
        for lost in [name for name in members if name not in model.jobs and name not in ("=", "~")]:
            model.unseat(call.user, lost)
            model.drop([lost])
    return None


class Submission:
    """A new job of a user who may have one more, and its place."""

    def __init__(self, model: Model, call: Call) -> None:
        self.model, self.call, self.user = model, call, model.user(call.user)
        self.now, self.lane, self.score, self.tag = call.number("now"), call.number("lane"), call.number("score"), 0
        if call["cost"]:
            begins = max(model.gate("~v") or FIRST_TAG, self.user.tag)
            tie = max(0, min(99, (self.now - (model.gate("~w") or self.now)) // 100))
            self.score, self.tag = max(0, begins + tie - self.score), begins + call.number("cost")
        self.room = model.room(self.now)
        self.rows, self.complete, last = model.head(1)
        # Behind what the script sees there may be jobs of these lanes.
        unseen = [lane for lane in model.deployment.lanes if READY + lane > last - (lane != self.lane)]
        self.hidden = [] if self.complete else unseen
        self.is_admitted = len(self.user.admitted) < self.user.cap
        heirs = model.deployment.heirs if self.is_admitted else "1"
        self.job = _job(call, self.score, heirs)
        if call["cost"]:
            self.job["cost"] = call["cost"]

    def is_rivalled(self) -> bool:
        """Whether another job has a better claim to the free slot, or cannot be excluded to have one."""
        return any(self._is_rival(row) for row in self.rows) or any(self.room.has(lane) for lane in self.hidden)

    def _is_rival(self, row: Row) -> bool:
        """Scores of other lanes and of due retries cannot be compared."""
        if row.band == DELAYED:
            return row.ms <= self.now
        lane = row.band - READY
        return READY <= row.band < DELAYED and self.room.has(lane) and (lane != self.lane or row.ms <= self.score)

    def may_start(self) -> bool:
        model, provider = self.model, provider_of(self.lane)
        # Neither by the caller's clock nor by the store's may a pause last or the bucket be empty.
        rooms = (self.room, model.room(self.call.number("lease_now")))
        is_free = self.is_admitted and all(room.has(self.lane) for room in rooms)
        is_known_good = provider not in self.room.probe and all(
            model.gate(gate) is None for gate in circuits_of(self.job)
        )
        wants = self.call["start"] == "1" and is_free and is_known_good and not self.is_rivalled()
        allowed = self.call["key_tasks"]
        self.is_held = wants and bool(allowed) and model.slots_of_key(self.call.number("share")) >= int(allowed)
        return wants and not self.is_held

    def attention(self) -> str:
        return "1" if any(row.band < READY and row.ms <= self.now for row in self.rows) or self.is_rivalled() else "0"

    def start(self) -> Any:
        model, call, time = self.model, self.call, self.call.number("lease_now")
        attention, lease_until = self.attention(), time + model.deployment.lease
        self.job.update(state="submitting", attempt=1, lease_until=lease_until, submitted_at=self.now)
        self.job["bounded"] = "1" if call["key_tasks"] else "0"
        self.job["amid"] = "1" if is_any_shut(model, self.now, call["share"]) else "0"
        self.job["adopt_until"] = lease_until + self.job["adoption"]
        model.put(call["id"], self.lane, lease_until)
        model.take_tokens(provider_of(self.lane), 1, time)
        if call["cost"]:
            model.set_gate("~v", max(model.gate("~v") or FIRST_TAG, self.score))
            model.set_gate("~w", self.now)
        self._admit(SEATED + self.score)
        return ["started", attention]

    def wait(self) -> Any:
        model, name, attention = self.model, self.call["id"], self.attention()
        if full := self._has_no_share():
            return full
        waiting = sum(READY <= row.band < ALARMS for row in model.rows())
        if waiting >= model.deployment.settings.max_queue_size:
            return ["queue_full", str(waiting)]
        self._clear_seat()
        position = 1 + self._ahead()
        worse = None if self.is_admitted else self._worse()
        if not self.is_admitted and not self.user.waiting:
            self._set_heirs()
        if worse:
            demote(model, self.call.user, *worse)
        if not self.is_admitted and not worse:
            self.job["state"] = "backlog"
            model.put(name, BACKLOG, self.score)
            self._admit(self.score)
            mine = sum(0 <= seat <= self.score for seat in model.sets[self.call.user].values())
            return ["backlog", str(mine), attention]
        model.put(name, READY + self.lane, self.score)
        self._admit(SEATED + self.score)
        if not self.complete:
            position = self._ahead()
        return ["queued", str(position), "1" if self.room.has(self.lane) and not self.is_held else attention]

    def _has_no_share(self) -> Any:
        """The refusal if as many of the key's jobs wait, or of the user's, as one may have. No job is in a batch."""
        call, share = self.call, self.call.number("share")
        waiting = [row.ms - WAITING_SHARES for row in self.model.rows() if row.band == ALARMS]
        of_key, of_user = sum(n // USERS_OF_KEY == share // USERS_OF_KEY for n in waiting), waiting.count(share)
        allowed = int(call["user_waiting"] or 10**9)
        # With fewer tasks there is nothing to count.
        if len(self.user.admitted) + len(self.user.waiting) >= allowed and of_user >= allowed:
            return ["user_queue_full", str(of_user), str(allowed)]
        if call["key_queued"] and of_key >= call.number("key_queued"):
            return ["key_queue_full", str(of_key), call["key_queued"]]
        return None

    def _clear_seat(self) -> None:
        """Takes the seat of a job that cannot start, if this one could."""
        model, user, now = self.model, self.user, self.now
        if len(user.admitted) != user.cap or not is_any_shut(model, now, self.job["share"]):
            return
        idle = [] if is_idle(model, self.job, now) else idle_of(model, user.admitted, now)
        if idle:
            score, name = idle[-1]
            demote(model, self.call.user, name, score)
            self.is_admitted, self.job["heirs"] = True, "1"

    def _set_heirs(self) -> None:
        # If users may queue, each job has heirs from the start.
        for name, _ in self.user.admitted if self.model.deployment.heirs == "0" else ():
            if name in self.model.jobs:
                self.model.jobs[name]["heirs"] = "1"

    def _ahead(self) -> int:
        """How many ready jobs of its queue go before it, and itself if it is in the index."""
        ready = [row for row in self.model.rows() if READY <= row.band < DELAYED and row.ms <= self.score]
        return sum(queue_of(row.band - READY) == queue_of(self.lane) for row in ready)

    def _worse(self) -> tuple[str, int] | None:
        """The worst of the user's jobs that are ready, if it is worse than this one."""
        ready = [name for name, job in self.model.jobs.items() if job["state"] == "queued"]
        if is_idle(self.model, self.job, self.now):
            ready = [name for name in ready if is_idle(self.model, self.model.jobs[name], self.now)]
        worse = [(name, seat) for name, seat in self.user.admitted if name in ready and seat > self.score]
        return worse[-1] if worse else None

    def _admit(self, seat: int) -> None:
        model, user, name = self.model, self.call.user, self.call["id"]
        model.jobs[name] = self.job
        model.put(f"!{name}", ALARMS, self.job["expire_at"])
        model.account(name)
        model.put(f"@{user}|{name}", HISTORY, self.now)
        model.seat(user, name, seat)
        if self.call["cost"]:
            model.seat(user, "~", SPECIAL + self.tag)
        model.relaxed.ghosts -= {name, f"!{name}", f"%{name}"}
        model.relaxed.strays.discard((user, name))


def _job(call: Call, score: int, heirs: str) -> Job:
    fields = hash_of(call.rest)
    if call["ledger"]:
        fields["ledger"] = call["ledger"]
    job = {"state": "queued", "attempt": 0, "token": call["token"], "fingerprint": call["fingerprint"], "heirs": heirs}
    return {**job, **fields, **{part: int(fields[part]) for part in NUMBERS if part in fields}, "score": score}
