"""A model's circuits, for all users and for one, and the failures that open them."""

from shared.jobqueue.constants import MAX_CIRCUITS
from tests.model.deployment import provider_of
from tests.model.state import Job, Model

Failures = tuple[int, int, int]  # how many, how often the user's circuit has opened, and until when


def runs_of(job: Job) -> str:
    return f"{provider_of(job['lane'])}:{job['model'].rpartition(':')[2]}"


def circuit_of(job: Job) -> str:
    return f"~o{runs_of(job)}"


def circuits_of(job: Job) -> tuple[str, str]:
    """The circuit of its model for all users, and for its own."""
    return circuit_of(job), f"{circuit_of(job)}|{job['share']}"


def failures_of(runs: Job, share: str) -> Failures | None:
    """The failures of a user since the model's last success."""
    row, _, said = runs.get(f"pair:{share}", "").partition("|")
    if not said or row != str(runs.get("since", 0)):
        return None
    count, opened, open_until = map(int, said.split("|"))
    return count, opened, open_until


def count_failure(model: Model, job: Job, now: int) -> None:
    """Counts one more job of a user that failed; so many users, or so many jobs of one user, open a circuit."""
    s = model.deployment.settings
    runs, (gate, own_gate) = model.runs.setdefault(runs_of(job), {}), circuits_of(job)
    count, opened, open_until = failures_of(runs, job["share"]) or (0, 0, 0)
    row = runs.get("since", 0)
    count += not (count and job.get("failed_in") == row)
    job["failed_in"] = row
    runs.update({"at": now, f"pair:{job['share']}": ""})
    others = sum(name.startswith("pair:") and failures_of(runs, name[5:]) is not None for name in runs)
    if others + 1 >= s.circuit_failures:
        until = _open(model, gate, runs.get("opened", 0), runs.get("open_until", 0), now, MAX_CIRCUITS)
        runs["opened"] = runs.get("opened", 0) + (until is not None)
        runs["open_until"] = runs.get("open_until", 0) if until is None else until
    elif count >= s.circuit_failures:
        until = _open(model, own_gate, opened, open_until, now, MAX_CIRCUITS // 2)
        opened, open_until = opened + (until is not None), open_until if until is None else until
    runs[f"pair:{job['share']}"] = f"{runs.get('since', 0)}|{count}|{opened}|{open_until}"


def _open(model: Model, gate: str, opened: int, open_until: int, now: int, most: int) -> int | None:
    """Until when the circuit is open now; None if it was open before."""
    if now < open_until:
        return None
    until = int(now + round(model.deployment.settings.circuit_pause * 1000) * 2 ** min(opened, 4))
    if gate in model.index or sum(score < 0 for score in model.index.values()) < most:
        model.set_gate(gate, until)
    return until
