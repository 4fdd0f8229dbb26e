"""What an operator's pauses mean for the time that jobs may wait."""

import re
from itertools import pairwise

from shared.jobqueue.constants import ALARMS
from tests.model.deployment import provider_of, queue_of
from tests.model.state import Model

MAX_HALTS = 20
MIN_EXTENSION = 3_600_000
HALTS = "halts"  # among what is known of providers


def note_halt(model: Model, gate: str, value: str, now: str) -> None:
    if not gate.startswith("="):
        return
    known = model.refusals.get(HALTS, {}).get(gate, "")
    if (value == "0") == known.endswith("-"):
        return
    said = [*known.split(","), f"{now}-"] if value == "0" else [known + now]
    parts = [part for part in ",".join(said).split(",") if part]
    model.refusals.setdefault(HALTS, {})[gate] = ",".join(parts[-MAX_HALTS:])


def extend(model: Model, name: str, time: int) -> bool:
    """Gives a job the time back for which what it needs was paused; returns whether it may wait on."""
    job, known = model.jobs[name], model.refusals.get(HALTS, {})
    gates = ("=s", f"=q{queue_of(job['lane'])}", f"=p{provider_of(job['lane'])}")
    said = ",".join(known.get(gate, "") for gate in gates)
    paused = [(int(first), int(last or time)) for first, last in re.findall(r"(\d+)-(\d*)", said)]
    moments = sorted({job["created_at"], time, *(moment for pair in paused for moment in pair)})
    spans = [(a, b) for a, b in pairwise(moments) if job["created_at"] <= a]
    halted = sum(b - a for a, b in spans if any(first <= a and b <= last for first, last in paused))
    expire_at, given = job["expire_at"], job.get("halted", 0)
    until = expire_at + halted - given
    if re.search(r"-(,|$)", said):
        until = max(until, time + MIN_EXTENSION)
    if until <= time:
        return False
    job.update(expire_at=until, halted=given + until - expire_at)
    model.put(f"!{name}", ALARMS, until)
    return True
