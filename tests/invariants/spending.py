"""I4: one creation an attempt, and no second one while the first may still come to something."""

from collections.abc import Iterable
from typing import Literal

from tests.invariants.state import Made, State

Spending = Literal["fine", "zombie", "double"]


def spend(
    state: State, creation: Made, made: Iterable[Made], *, was_frozen: bool, was_findable: bool
) -> tuple[Spending, str]:
    """How a creation stands to the job's earlier ones, and what is wrong with it.

    zombie: made after its lease by a process that was frozen at the very call; nothing on our side can hold that back,
    and a platform that ends its functions in time does. double: paid for twice although the first one lives or has
    completed; allowed only if nobody could have found that one.
    """
    job = state.jobs.get(creation.job, {})
    is_current = job.get("state") == "submitting" and job.get("attempt") == str(creation.attempt)
    if not is_current or creation.created_at >= int(job["lease_until"]):
        return (
            "zombie",
            "" if was_frozen else f"I4 {_name(creation)} was submitted while {job.get('state')}, or too late",
        )
    earlier = [p for p in made if p.job == creation.job and not p.is_zombie]
    if any(p.attempt == creation.attempt for p in earlier):
        return "double", f"I4 {_name(creation)} was submitted twice"
    if job.get("cancel_requested") and not was_frozen:
        return "double", f"I4 {_name(creation)} was submitted after its cancellation"
    alive = [p for p in earlier if p.status in ("running", "completed")]
    if not alive:
        return "fine", ""
    shown = ", ".join(f"{p.id} {p.status}" for p in alive)
    return "double", f"I4 {_name(creation)} was submitted beside {shown}" if was_findable else ""


def _name(creation: Made) -> str:
    return f"attempt {creation.attempt} of {creation.job}"
