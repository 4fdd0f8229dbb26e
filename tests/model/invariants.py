"""What must hold after every call, read from the store alone; the model only knows which faults excuse what.

fault                what it excuses                                            until
a job's key evicted  its entries in the index and its user's set stay behind    a claim, a submit or a sweep meets them
                     its attempts count from 1 again                            (a new job under the same id)
                     its seat is empty though others of its user wait           its user is rehomed, or another of the
                                                                                user's jobs ends
a user's set evicted the set lacks jobs, so the user may have more than         these jobs have ended, or a poll of
                     allowed, and none of these is promoted                     each of them has rehomed it
the index evicted    live jobs are in no band, and slots can be overbooked      a sweep or poll has rehomed them, and
                                                                                enough of them have ended
                     the alarms of jobs that a verb puts back are lost          these jobs have ended
                     limits, pauses and circuits are forgotten                  (as if they had never been)
a snapshot restored  attempt numbers handed out since are handed out again      (nothing else: it was a sound store)

Two cases need no fault. A user whose concurrency was lowered has too many jobs admitted: jobs at a provider or waiting
for a retry keep their seats, and no other job gets one. A live job has no alarm once it went off while the job was at
its provider; from then on every claim looks at its age.
"""

from collections import Counter

from shared.jobqueue.constants import ALARMS, BACKLOG, BAND, DELAYED, HISTORY, LIMIT_SPAN, READY, SEATED, SPECIAL
from shared.jobqueue.state import may_become
from tests.model.circuits import circuits_of
from tests.model.deployment import Deployment, provider_of, queue_of
from tests.model.outbox_invariants import VERBS, ordinary
from tests.model.state import Model, View, user_of
from tests.model.unknown import has_left_seat


def hold(view: View, model: Model, time: int) -> None:
    """Holds at any moment; ``time`` is the true time."""
    live, excused = view.live(), model.relaxed
    entries = {name: score // BAND for name, score in view.index.items()}
    jobs = {name for name, band in entries.items() if 0 <= band < ALARMS}
    assert jobs - set(live) <= excused.ghosts, "the index holds jobs that are not live"
    assert set(live) - jobs <= excused.unindexed, "the index has lost a live job"
    for name in set(live) & jobs:
        assert entries[name] == band_of(live[name]), f"{name} is {live[name]['state']} and in band {entries[name]}"
    _alarms(view, model, time)
    for name, band in entries.items():
        assert band != HISTORY or name.startswith("@")
        assert (band < 0) == name.startswith(("=", "~")), f"{name} in band {band}"
    for user in {user_of(job) for job in live.values()} | set(view.sets):
        _set_of(user, view, model)
    for name, job in view.jobs.items():
        assert view.has_ttl[name] == (job["state"] == "done"), f"{name} is {job['state']}, and has a TTL or lacks one"
        used = int(job["attempt"]) - int(job.get("snoozes", 0))
        assert 0 <= used <= int(job["max_attempts"]), f"{name} has used {used} attempts"


def band_of(job: dict[str, str]) -> int:
    lane = int(job["lane"])
    return {"queued": READY + lane, "delayed": DELAYED, "backlog": BACKLOG}.get(job["state"], lane)


def _alarms(view: View, model: Model, time: int) -> None:
    live, excused = view.live(), model.relaxed
    alarms = {name[1:]: score % BAND for name, score in view.index.items() if name.startswith("!")}
    assert {f"!{name}" for name in set(alarms) - set(live)} <= excused.ghosts, "an alarm of no live job"
    for name, job in live.items():
        if name in alarms:
            assert alarms[name] == int(job["expire_at"])
        elif name not in excused.unindexed | excused.unalarmed:
            assert int(job["expire_at"]) <= time, f"{name} may wait longer than it was promised, without an alarm"


def _set_of(user: str, view: View, model: Model) -> None:
    """A user's set is exactly the user's live jobs, with a seat or without one as each state requires."""
    excused, members = model.relaxed, view.sets.get(user, {})
    own = {name for name, job in view.live().items() if user_of(job) == user and not has_left_seat(job)}
    listed = set(members) - {"=", "~"}
    assert {(user, name) for name in listed - own} <= excused.strays, f"{user}'s set holds jobs that are not the user's"
    assert own - listed <= excused.unset, f"{user}'s set has lost a job"
    for name in listed & own:
        assert (members[name] >= 0) == (view.jobs[name]["state"] == "backlog"), f"{name} has the wrong seat"
    admitted, waiting = seats(members)
    if waiting and len(admitted) < cap_of(members, model.deployment):
        assert user in excused.unpromoted, f"{user}'s jobs {waiting} wait and could be ready"


def seats(members: dict[str, int]) -> tuple[set[str], set[str]]:
    """The admitted and the waiting jobs of a set."""
    listed = {name: score for name, score in members.items() if name not in ("=", "~")}
    waiting = {name for name, score in listed.items() if score >= 0}
    assert all(score >= 2 * SEATED for score in listed.values())
    return set(listed) - waiting, waiting


def cap_of(members: dict[str, int], deployment: Deployment) -> int:
    return (members["="] - SPECIAL) % LIMIT_SPAN if "=" in members else deployment.cap


def follow(verb: str, before: View, after: View, deployment: Deployment, unset: set[str]) -> None:
    """Between two calls jobs move along the allowed ways only, attempts grow, and terminal jobs do not change."""
    for name, job in after.jobs.items():
        old = before.jobs.get(name, {})
        was = old.get("state", "")
        if was == "done":
            said = ordinary if verb in (*VERBS, "delete") else dict
            assert said(job) == said(old), f"{name} was terminal and changed"
        elif was != job["state"]:
            assert may_become(was, job["state"]), f"{name} went from {was} to {job['state']}"
        assert int(job["attempt"]) - int(old.get("attempt", "0")) in (0, 1)
    for user, members in after.sets.items():
        admitted, cap = seats(members)[0], cap_of(members, deployment)
        # A job that the set had lost gets its seat back, even if another job has got one since.
        if verb != "rehome" and len(admitted) > cap:
            assert admitted - unset <= seats(before.sets.get(user, {}))[0], f"{verb} gave {user} one seat too many"
        if verb == "limit_user" and before.sets.get(user) != members and len(admitted) > cap:
            states = {name: after.jobs[name]["state"] for name in admitted if name in after.jobs}
            assert "queued" not in states.values(), f"{user} may have {cap} and has {states}"


def started(names: list[str], before: View, after: View, deployment: Deployment, time: int) -> None:
    """Each job that a call has started was allowed by the limits and gates in force."""
    # The end of a job may lift a gate in the same call.
    gates = {name: score + BAND for name, score in before.index.items() if score < 0 and name in after.index}
    lanes = [int(score) // BAND for score in after.index.values() if 0 <= score < READY * BAND]
    taken = Counter(("q", queue_of(lane)) for lane in lanes) + Counter(("p", provider_of(lane)) for lane in lanes)
    for name in names:
        job = after.jobs[name]
        queue, provider = queue_of(int(job["lane"])), provider_of(int(job["lane"]))
        assert len(lanes) <= gates.get("=s", deployment.limit), "beyond the system's limit"
        assert taken["q", queue] <= gates.get(f"=q{queue}", deployment.queues[queue].concurrency), "beyond its queue's"
        assert taken["p", provider] <= gates.get(f"=p{provider}", deployment.at_provider[provider]), "its provider's"
        assert gates.get(f"~p{provider}", 0) <= time, f"{name} was started in a pause"
        assert all(gates.get(gate, 0) <= time for gate in circuits_of({**job, "lane": int(job["lane"])})), (
            f"{name}'s circuit is open"
        )
        assert int(job["expire_at"]) > time, f"{name} had waited too long"


def relax(model: Model) -> None:
    """Takes back the excuses that are no longer needed."""
    r = model.relaxed
    r.ghosts &= set(model.index)
    r.strays &= {(user, member) for user, members in model.sets.items() for member in members}
    r.unset &= {n for n in model.live if n not in model.sets.get(user_of(model.jobs[n]), {})}
    r.unindexed &= model.live - set(model.index)
    r.unalarmed &= {n for n in model.live if f"!{n}" not in model.index}
    for user in r.unpromoted - {user for user, _ in r.strays}:
        known = model.user(user)
        if not known.waiting or len(known.admitted) >= known.cap:
            r.unpromoted.discard(user)
