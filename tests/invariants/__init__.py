"""What must be true of the store after every single I/O, and at the end of every run, whatever went wrong on the way.

I1   conservation  an acknowledged job exists; a live job stands in the index where its state says, an ended one nowhere
I2   finality      states move along MOVES in jobqueue/state.py; the end never changes and is counted exactly once
I3   fencing       what is written about an attempt is true of the provider's prediction for this very attempt
I4   spend         one creation an attempt, and no second one while the first may still come to something
I5   quota         slots, tokens and seats keep to the limits that stood when they were granted; nobody waits in a
                   backlog whose user has a free seat; nobody passes a pause or an open circuit but its one probe; the
                   best ready job of a lane starts first; a batch's counters sum
I6   telling       every event that an owner wants is in line until he has received it, and never told before it is
                   true; a file that counts as stored is whole in the bucket, and completion is told only after that
I7   authority     a webhook's URL carries the nonce of its job and attempt
I8   lifetimes     no live job or batch has a time to live, every terminal one has
I9   secrecy       (tests/test_canaries.py)
I10  liveness      every slot has a time when somebody looks, every waiting job one when it expires; after the faults
                   every job ends within a computed time
I11  identity      a submit that is repeated with its key makes no second job
I12  egress        (tests/hooks/test_egress.py)

``check`` is for after each I/O and costs some ten microseconds; ``final`` is for the end; ``spend`` for each creation.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from tests.invariants.gates import gates
from tests.invariants.keeping import keeping, referred
from tests.invariants.moves import fencing, finality
from tests.invariants.places import batches, conservation, deadlines, lifetimes, losses, seats
from tests.invariants.spending import spend
from tests.invariants.state import Limits, Made, Object, Outside, State
from tests.invariants.telling import telling, untold

__all__ = ["Limits", "Made", "Object", "Outside", "State", "check", "final", "referred", "spend"]


def check(
    before: State, after: State, made: Mapping[str, Made], now: int, limits: Limits, outside: Outside
) -> list[str]:
    """Everything that is wrong after an I/O; ``before`` is what the check before this one saw, ``now`` true time."""
    return [
        *conservation(after),
        *losses(after),
        *finality(before, after),
        *fencing(before, after, made, now),
        *seats(before, after, limits),
        *batches(after),
        *gates(before, after, now, limits),
        *lifetimes(after),
        *deadlines(after, now, limits),
        *telling(before, after, now, limits, outside),
        *keeping(before, after, now, limits, outside),
    ]


def final(
    state: State, made: Iterable[Made], acknowledged: set[str], submitted: set[str], outside: Outside, *, hears: bool
) -> list[str]:
    """Everything that is wrong when all is quiet; ``hears``: the owners' endpoint answers at last."""
    found = [f"I10 {job_id} is still {state.jobs[job_id]['state']}" for job_id in state.live]
    lost = acknowledged - state.jobs.keys() - state.deleted.keys()
    found += [f"I1 {job_id} was acknowledged and is lost" for job_id in sorted(lost)]
    found += [f"I11 {job_id} is a job that nobody submitted" for job_id in sorted(state.jobs.keys() - submitted)]
    left = {user: held for user, held in state.users.items() if held.keys() - {"=", "~"}}
    if not state.live and (state.places or state.alarms or left or state.batch_queues):
        found.append(f"I1 everything ended and something is left: {state.places}, {state.alarms}, {left}")
    found += untold(state, outside, hears=hears)
    for job_id in sorted(state.dead):
        if state.jobs[job_id].get("outcome") != "failed":
            found.append(f"I2 {job_id} is a dead letter and {state.jobs[job_id].get('outcome')}")
    creations = Counter(p.job for p in made)
    failures = Counter(p.job for p in made if p.status == "failed")
    for job_id, job in state.jobs.items():
        allowed = 1 + int(job.get("rescues", 0)) + failures[job_id]
        if creations[job_id] > allowed:
            found.append(f"I4 {job_id} was created {creations[job_id]} times, {allowed} are accounted for")
    return found
