"""What must be true of the store after every single I/O, and at the end of every run.

I1   conservation  an acknowledged job exists; the index has a live job where its state says, and no ended job
I2   finality      states move along MOVES in jobqueue/state.py; a job's end never changes and is counted once
I3   fencing       a write about an attempt agrees with the provider's prediction for this attempt
I4   spend         one creation for each attempt; no second creation while the first one may still succeed
I5   quota         slots, tokens and seats keep to the limits at the time of their grant; no job is in the backlog
                   while its user has a free seat; only the probe passes a pause or an open circuit; the best ready
                   job of a lane starts first; a batch's counters sum;
                   what counts for an API key and a user is what waits and runs
I6   events        a wanted event waits in the outbox until its owner has received it, and is sent only once it is
                   true; a stored file is whole in the bucket; completion is sent only after that
I7   authority     a webhook's URL carries the nonce of its job and attempt
I8   lifetimes     every ended job or batch has a time to live, and no live one has
I9   secrecy       (tests/http/test_canary.py)
I10  liveness      every slot has a time of its next check, every waiting job a time when it expires; after the
                   faults, every job ends within a computed time
I11  identity      a submit that is repeated with its key creates no second job
I12  egress        (tests/hooks/test_egress.py)
I13  accounts      what is spent is what jobs have reserved and cost; a settled reservation is gone

Call ``check`` after each I/O (it costs some ten microseconds), ``final`` at the end, ``spend`` for each creation.
After a script was stopped half-way, call ``at_rest`` instead of ``check``, once its traces are gone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from tests.invariants.accounts import accounts, undercharged, unsettled
from tests.invariants.events import events, undelivered
from tests.invariants.files import files, referred
from tests.invariants.gates import gates
from tests.invariants.moves import ends_kept, fencing, finality
from tests.invariants.places import batches, conservation, deadlines, lifetimes, losses, seats, unknowns
from tests.invariants.spending import spend
from tests.invariants.state import Limits, Made, Object, Outside, State

__all__ = [
    "Limits", "Made", "Object", "Outside", "State", "at_rest", "check", "ends_kept", "final", "referred", "spend",
]  # fmt: skip


def check(
    before: State, after: State, made: Mapping[str, Made], now: int, limits: Limits, outside: Outside
) -> list[str]:
    """Returns all errors after an I/O. ``before`` is the state at the last check, ``now`` is true time."""
    return [
        *conservation(after),
        *losses(after),
        *finality(before, after),
        *fencing(before, after, made, now),
        *seats(before, after, limits),
        *batches(after),
        *gates(before, after, now, limits),
        *lifetimes(after),
        *unknowns(after),
        *deadlines(after, now, limits),
        *events(before, after, now, limits, outside),
        *files(before, after, now, limits, outside),
        *accounts(after),
        *unsettled(after),
    ]


def at_rest(state: State, now: int, limits: Limits, outside: Outside) -> list[str]:
    """Returns all contradictions in a state, whatever led to it: a script that stopped may cause some for a while."""
    return [
        *conservation(state),
        *seats(state, state, limits),
        *batches(state),
        *lifetimes(state),
        *deadlines(state, now, limits),
        *unknowns(state),
        *events(state, state, now, limits, outside),
        *files(state, state, now, limits, outside),
        *accounts(state),
        *unsettled(state),
    ]


def final(
    state: State,
    made: Iterable[Made],
    acknowledged: set[str],
    submitted: set[str],
    outside: Outside,
    *,
    is_reachable: bool,
) -> list[str]:
    """Returns all errors once the system is idle. ``is_reachable``: the owners' endpoint answers in the end."""
    found = [f"I10 {job_id} is still {state.jobs[job_id]['state']}" for job_id in state.live]
    lost = acknowledged - state.jobs.keys() - state.deleted_ids
    found += [f"I1 {job_id} was acknowledged and is lost" for job_id in sorted(lost)]
    found += [f"I11 {job_id} was never submitted" for job_id in sorted(state.jobs.keys() - submitted)]
    left = {user: held for user, held in state.users.items() if held.keys() - {"=", "~"}}
    if not state.live and (state.places or state.alarms or state.shares or left or state.batch_queues):
        found.append(f"I1 every job ended, but the index or a set has more: {state.places}, {state.alarms}, {left}")
    found += undelivered(state, outside, is_reachable=is_reachable)
    for job_id in sorted(state.dead):
        if state.jobs[job_id].get("outcome") != "failed":
            found.append(f"I2 {job_id} is a dead letter and {state.jobs[job_id].get('outcome')}")
    made = list(made)
    found += undercharged(state, made)
    creations = Counter((p.job, p.incarnation) for p in made)
    failures = Counter((p.job, p.incarnation) for p in made if p.status == "failed")
    # An attempt was given up although its prediction exists: the list had it too late, or a zombie made it.
    missed = Counter((p.job, p.incarnation) for p in made if p.is_zombie or p.listed_at > p.created_at)
    for job_id, job in state.jobs.items():
        one = (job_id, job.get("incarnation", ""))
        allowed = 1 + int(job.get("rescues", 0)) + failures[one] + missed[one]
        if creations[one] > allowed:
            found.append(f"I4 {job_id} was created {creations[one]} times, {allowed} are accounted for")
    return found
