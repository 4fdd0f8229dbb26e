"""I13: an account is the sum of what its jobs have reserved and cost; in the end no reservation is left."""

from collections import Counter
from collections.abc import Iterable, Iterator

from tests.invariants.state import Made, State

ALL = "all"


def accounts(state: State) -> Iterator[str]:
    """What the months' accounts say must be what their jobs say. It holds at every moment, also half-way."""
    for month, fields in state.spending.items():
        expected: Counter[str] = Counter()
        open_ones = _reservations(fields)
        for payer, cost in open_ones.values():
            expected += Counter({ALL: cost, payer: cost})
        for job_id, job in state.jobs.items():
            kept_in, _, payer = job.get("ledger", "").partition(":")
            if kept_in != month or job_id in open_ones:
                continue
            if job["state"] != "done":
                yield f"I13 {job_id} is alive without a reservation"
            expected += Counter({ALL: int(job.get("charged", 0)), payer: int(job.get("charged", 0))})
        said = {name: int(text.partition("|")[0]) for name, text in fields.items() if name[0] != "="}
        if {name: cost for name, cost in said.items() if cost} != dict(expected):
            yield f"I13 the accounts of {month} are {said} and should be {dict(expected)}"


def unsettled(state: State) -> Iterator[str]:
    """Reservations without a live job, which a script that stopped has left."""
    for fields in state.spending.values():
        for name in fields:
            if name[0] == "=" and state.jobs.get(name[1:], {}).get("state", "done") == "done":
                yield f"I13 the reservation of {name[1:]} is not settled"


def undercharged(state: State, made: Iterable[Made]) -> Iterator[str]:
    """Jobs that cost less than what was made for them, by prices that count each run alike."""
    for job_id, job in state.jobs.items():
        if "price" not in job:
            continue
        runs = [p for p in made if p.is_of(job_id, job) and not p.is_zombie]
        price = int(job["price"].partition("run=")[2].partition(",")[0])
        if int(job.get("charged", 0)) < price * len(runs):
            yield f"I13 {job_id} cost {job.get('charged')} for {len(runs)} runs of {price}"


def _reservations(fields: dict[str, str]) -> dict[str, tuple[str, int]]:
    """Whose account each open reservation is in, and how much it is."""
    parts = {name[1:]: text.split(":") for name, text in fields.items() if name[0] == "=" and text != "settled"}
    return {job_id: (payer, int(cost)) for job_id, (_, cost, payer) in parts.items()}
