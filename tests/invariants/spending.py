"""I4: one creation for each attempt; no second creation while the first one may still succeed."""

from collections.abc import Iterable
from typing import Literal

from tests.invariants.state import Made, State

Spending = Literal["fine", "zombie", "double"]


def spend(
    state: State, creation: Made, made: Iterable[Made], *, was_frozen: bool, was_findable: bool
) -> tuple[Spending, str]:
    """Compares a creation with the job's earlier ones. Returns its kind, and the error if there is one.

    fine: the only live creation.
    zombie: made after its lease by a process that froze during the call. Sluice cannot prevent that; a platform can, if
    it ends its functions in time.
    double: paid for although an earlier one runs or has completed. Allowed only if that one could not be found.
    """
    job = state.jobs.get(creation.job, {})
    is_current = job.get("state") == "submitting" and job.get("attempt") == str(creation.attempt)
    is_current = is_current and creation.is_of(creation.job, job)
    if not is_current or creation.created_at >= int(job["lease_until"]):
        return (
            "zombie",
            "" if was_frozen else f"I4 {_name(creation)} was submitted while {job.get('state')}, or too late",
        )
    earlier = [p for p in made if p.is_of(creation.job, job) and not p.is_zombie]
    if any(p.attempt == creation.attempt for p in earlier):
        return "double", f"I4 {_name(creation)} was submitted twice"
    if job.get("cancel_requested") and not was_frozen:
        return "double", f"I4 {_name(creation)} was submitted after its cancellation"
    alive = [p for p in earlier if p.status in ("running", "completed")]
    if not alive:
        return "fine", ""
    shown = ", ".join(f"{p.id} {p.status}" for p in alive)
    return "double", f"I4 {_name(creation)} was submitted in addition to {shown}" if was_findable else ""


def _name(creation: Made) -> str:
    return f"attempt {creation.attempt} of {creation.job}"
