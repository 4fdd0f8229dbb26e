"""I5 of the deployment: each start has a slot and a token, and passes no pause and no open circuit."""

from collections import Counter
from collections.abc import Iterator, Mapping

from shared.jobqueue.constants import PROVIDERS, READY
from tests.invariants.state import SLACK, JobFields, Limits, State, circuit, own_circuit, pause, provider
from tests.invariants.state import lane as lane_of

Jobs = Mapping[str, JobFields]
FORGOTTEN = 3_600_000  # ms


def gates(before: State, after: State, now: int, limits: Limits) -> Iterator[str]:
    entered = {
        job_id: job
        for job_id, job in after.jobs.items()
        if job["state"] == "submitting" and job["attempt"] != before.jobs.get(job_id, {}).get("attempt", "0")
    }
    if entered:
        yield from _slots(after, entered, limits)
        yield from _tokens(before, after, entered, limits)
        yield from _order(before, after, entered, now)
        for gate in {gate for job in entered.values() for gate in (pause(job), circuit(job), own_circuit(job))}:
            yield from _probe(before, after, gate, entered, now, limits)
        for job_id, job in entered.items():
            if int(job["submitted_at"]) >= int(job["expire_at"]):
                yield f"I10 {job_id} was started after it had expired"
            if before.jobs.get(job_id, {}).get("state") == "backlog":
                yield f"I5 {job_id} was started from the backlog"
    yield from _lifted(before, after, now)
    yield from _circuits(before, after, limits)


def _slots(state: State, entered: Jobs, limits: Limits) -> Iterator[str]:
    """Finds slots granted beyond the current limits. Slots granted before a limit was lowered may exceed it."""
    configured = {"s": limits.total}
    configured |= {f"q{number}": limit for number, limit in enumerate(limits.queues)}
    configured |= {f"p{number}": limit for number, (limit, _, _) in enumerate(limits.providers)}
    taken = Counter(name for lane in state.slots.values() for name in _limited(lane))
    for name in {name for job in entered.values() for name in _limited(lane_of(job))}:
        if taken[name] > (limit := state.gates.get(f"={name}", configured[name])):
            yield f"I5 {taken[name]} slots of {name} are taken, the limit is {limit:.0f}"
    of_keys = Counter(state.jobs[job_id]["owner"] for job_id in state.slots if job_id in state.jobs)
    for owner in {job["owner"] for job in entered.values()}:
        if of_keys[owner] > limits.key:
            yield f"I5 {of_keys[owner]} slots of the key {owner} are taken, the limit is {limits.key}"


def _limited(lane: int) -> tuple[str, str, str]:
    """Returns the limits that count a slot of this lane, as their gates name them."""
    return "s", f"q{lane // PROVIDERS}", f"p{lane % PROVIDERS}"


def _tokens(before: State, after: State, entered: Jobs, limits: Limits) -> Iterator[str]:
    """Each start takes a token of its provider's bucket. The gate says when the bucket will be full."""
    for number, (_, interval, burst) in enumerate(limits.providers):
        asked = [int(job["submitted_at"]) for job in entered.values() if provider(job) == number]
        if not asked:
            continue
        gate = f"~r{number}"
        least = max(before.gates.get(gate, 0), min(asked)) + len(asked) * interval
        full_at = after.gates.get(gate, 0)
        if full_at < least:
            yield f"I5 {len(asked)} starts left the bucket of provider {number} full at {full_at:.0f}, not {least:.0f}"
        if full_at > max(asked) + burst * interval:
            yield f"I5 provider {number} got more submissions than its bucket had tokens"


def _order(before: State, after: State, entered: Jobs, now: int) -> Iterator[str]:
    """The best ready job of a lane starts first, unless it has expired, or another one is its provider's probe."""
    for job_id, job in entered.items():
        if pause(job) in before.gates:
            continue
        for other, (band, score) in after.places.items():
            is_same = band == READY + lane_of(job) and before.places.get(other) == (band, score)
            if is_same and score < int(job["score"]) and now < int(after.jobs[other]["expire_at"]):
                yield f"I5 {job_id} was started before {other}, which has the lower score"


def _probe(before: State, after: State, gate: str, entered: Jobs, now: int, limits: Limits) -> Iterator[str]:
    """A gate admits no job before its time, then one probe, and no other job during the probe's lease."""
    if (until := before.gates.get(gate)) is None:
        return
    probes = {job_id: job for job_id, job in entered.items() if gate in (pause(job), circuit(job), own_circuit(job))}
    if until > now:
        yield f"I5 {sorted(probes)} were started although {gate} is closed for another {(until - now) / 1000:.0f} s"
    if len(probes) > 1:
        yield f"I5 {sorted(probes)} are all probes of {gate}"
    if after.gates.get(gate, 0) < min(int(job["submitted_at"]) for job in probes.values()) + limits.lease - SLACK:
        yield f"I5 {sorted(probes)} are probes of {gate}, which does not hold back other jobs"


def _lifted(before: State, after: State, now: int) -> Iterator[str]:
    """Only an accepted probe ends a pause, and only a success closes a circuit.

    Exceptions: an adopted probe leaves the pause to the next probe; a tick deletes a circuit that had no probe for an
    hour.
    """
    for job_id, job in after.jobs.items():
        is_recorded = job["state"] == "running" and before.jobs.get(job_id, {}).get("state") == "submitting"
        is_adopted = before.stats.get("adopted") != after.stats.get("adopted")
        if is_recorded and not is_adopted and job.get("probe", "")[:2] == "~p" and job["probe"] in after.gates:
            yield f"I5 {job_id} was accepted, but {job['probe']} still exists"
    for gate in before.gates.keys() - after.gates.keys():
        if gate[:2] == "~p" and not any(
            job.get("probe") == gate and (job.get("prediction") or job.get("closed_attempt") == job["attempt"])
            for job in after.jobs.values()
        ):
            yield f"I5 {gate} was lifted, but no probe was accepted"
        if (
            gate[:2] == "~o"
            and before.gates[gate] > now - FORGOTTEN
            and not any(
                _completed(job)
                and gate in (circuit(job), own_circuit(job))
                and not _completed(before.jobs.get(job_id, {}))
                for job_id, job in after.jobs.items()
            )
        ):
            yield f"I5 {gate} was closed, but no job of its model completed"


def _completed(job: JobFields) -> bool:
    return job.get("outcome") == "completed"


def _circuits(before: State, after: State, limits: Limits) -> Iterator[str]:
    for model, runs in after.models.items():
        known, gate = before.models.get(model, {}), f"~o{model}"
        failures, had = _failures(runs), _failures(known)
        grown = sum(failures.values()) - sum(had.values()) if runs.get("since") == known.get("since") else 0
        new = sum(_is_new_failure(before.jobs.get(job_id, {}), job, model) for job_id, job in after.jobs.items())
        if grown > new:
            yield f"I5 {grown} failures of {model} are counted, but {new} happened"
        if grown > 0 and 0 < limits.circuit_failures <= len(failures) and gate not in after.gates:
            yield f"I5 jobs of {len(failures)} users of {model} have failed in a row, but its circuit is closed"
        if gate in after.gates.keys() - before.gates.keys() and len(failures) < limits.circuit_failures:
            yield f"I5 the circuit of {model} has opened after failures of {len(failures)} users"
    for job_id, job in after.jobs.items():
        if _completed(job) and before.jobs.get(job_id, {}).get("state") != "done" and circuit(job) in after.gates:
            yield f"I5 {job_id} completed, but the circuit of its model is open"


def _failures(runs: Mapping[str, str]) -> dict[str, int]:
    """Returns how many jobs of each user have failed since the model's last success."""
    said = {name: value.split("|") for name, value in runs.items() if name.startswith("pair:")}
    return {name: int(parts[1]) for name, parts in said.items() if parts[0] == runs.get("since", "0")}


def _is_new_failure(known: JobFields, job: JobFields, model: str) -> bool:
    """Whether an attempt failed just now, or its submission got no usable answer."""
    if f"{provider(job)}:{job['model']}" != model:
        return False
    return any(known.get(name) != job.get(name) for name in ("closed_attempt", "tripped"))
