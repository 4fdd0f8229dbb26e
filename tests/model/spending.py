"""What jobs cost and reserve, as the model keeps it: plain sums, by month."""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from shared.jobqueue.constants import DAY
from tests.model.call import Call
from tests.model.state import Job, Model

ALL = "all"


@dataclass
class Month:
    """``spent``: by account, of the whole month under None and of each day that still counts."""

    spent: dict[str, Counter[int | None]] = field(default_factory=dict)
    reserved: dict[str, tuple[int, int, str]] = field(default_factory=dict)  # day, cost and account of each live job

    def move(self, name: str, day: int, cost: int, account: str) -> None:
        """Gives a job a reservation in the place of its earlier one."""
        self.release(name, account)
        self.reserved[name] = (day, cost, account)
        self._add(day, cost, account)

    def release(self, name: str, account: str) -> None:
        if name in self.reserved:
            day, cost, _ = self.reserved.pop(name)
            self._add(day, -cost, account)

    def pay(self, name: str, cost: int) -> None:
        day, _, account = self.reserved[name]
        self.move(name, day, cost, account)
        del self.reserved[name]

    def drop_empty(self, account: str) -> None:
        """A settlement keeps no account that has cost nothing."""
        if not self.spent[account][None]:
            del self.spent[account]

    def _add(self, day: int, cost: int, account: str) -> None:
        for one in (ALL, account):
            self.spent.setdefault(one, Counter())[None] += cost
            self.spent[one][day] += cost

    def forget(self, account: str, now: int) -> None:
        """An account that is written keeps no day before yesterday."""
        for one in (ALL, account):
            spent = self.spent[one]
            for day in [day for day in spent if day is not None and day < now // DAY - 1]:
                del spent[day]

    def fields(self) -> dict[str, str]:
        """The month as the store holds it."""
        written = {f"={name}": ":".join(map(str, parts)) for name, parts in self.reserved.items()}
        for account, spent in self.spent.items():
            days = [f"{day}:{spent[day]}" for day in sorted(day for day in spent if day is not None)]
            written[account] = "|".join([str(spent[None]), *days])
        return written


def bound_of(job: Job) -> int:
    return int(_price(job)["at_most"])


def refusal(model: Model, call: Call) -> Any:
    """Why no budget has room for a new job; None if they do, or there are none."""
    month, account = _of(model, call["ledger"])
    if month is None:
        return None
    today, free = call.number("now") // DAY, month.reserved.get(call["id"], (None, 0, ""))
    return _refusal(month, account, today, call.number("bound"), call["budgets"], free)


def reserve(model: Model, call: Call) -> None:
    month, account = _of(model, call["ledger"])
    if month is not None:
        month.move(call["id"], call.number("now") // DAY, call.number("bound"), account)
        month.forget(account, call.number("now"))


def pay_again(model: Model, name: str, call: Call, bill: str) -> bool:
    """Whether a job may have another run, now that one has cost something; then it is paid, and the next reserved."""
    job = model.jobs[name]
    cost = _cost(job, bill) if "price" in job else 0
    if not cost:
        return True
    paid = {**_paid(job), int(job["attempt"]): cost}
    bound = sum(paid.values()) + bound_of(job)
    month, account = _of(model, job.get("ledger", ""))
    if month is not None:
        now = call.number("now")
        held = month.reserved.get(name, (None, 0, ""))
        day = now // DAY if held[0] is None else held[0]
        if _refusal(month, account, day, bound, call["budgets"], held):
            return False
        month.move(name, day, bound, account)
        month.forget(account, now)
    job["paid"] = _written(paid)
    return True


def charge(model: Model, name: str, now: int, attempt: int | None, bill: str) -> Job:
    """Settles a job that ends; ``attempt`` is the one whose end it is. Returns what its record says of it."""
    job = model.jobs[name]
    if "price" not in job:
        return {}
    paid = _paid(job)
    if attempt is not None:
        paid[attempt] = _cost(job, bill)
        if attempt != job["attempt"] and job["state"] in ("submitting", "running"):
            paid[job["attempt"]] = bound_of(job)
    cost = sum(paid.values())
    month, account = _of(model, job.get("ledger", ""))
    if month is not None and name in month.reserved:
        is_same = month.reserved[name][1] == cost
        month.pay(name, cost)
        if not is_same:
            month.forget(account, now)
        month.drop_empty(account)
    return {"charged": cost}


def reclaim(model: Model, call: Call, reply: Any) -> Any:
    month, gone = model.spending.setdefault(call["month"], Month()), 0
    for name in call.rest:
        if name not in model.jobs:
            gone += 1
            _, cost, account = month.reserved[name]
            month.pay(name, 0)
            if cost:
                month.forget(account, call.number("now"))
            month.drop_empty(account)
    return str(gone)


def _refusal(month: Month, account: str, day: int, cost: int, budgets: str, held: tuple[int | None, int, str]) -> Any:
    limits = [int(limit) for limit in budgets.split(",")]
    for number, (whose, period, key) in enumerate(
        [(account, "day", day), (account, "month", None), (ALL, "day", day), (ALL, "month", None)]
    ):
        added = cost - (held[1] if key is None or held[0] == day else 0)
        spent = month.spent.get(whose, Counter())[key] + added
        if added > 0 and 0 <= limits[number] < spent:
            return ["budget_exceeded", "all" if whose == ALL else "user", period]
    return None


def _of(model: Model, ledger: str) -> tuple[Month | None, str]:
    month, _, account = ledger.partition(":")
    return (model.spending.setdefault(month, Month()) if month else None), account


def _price(job: Job) -> dict[str, float]:
    return {name: float(number) for name, number in (part.split("=") for part in job["price"].split(","))}


def _cost(job: Job, bill: str) -> int:
    price, known = _price(job), dict(part.split("=") for part in bill.split(",") if "=" in part)
    per = {name[1:]: micros for name, micros in price.items() if name[0] == "*"}
    if bill == "free":
        return 0
    if not bill or not per.keys() <= known.keys():
        return bound_of(job)
    return ceil(price["run"] + sum(micros * float(known[name]) for name, micros in per.items()))


def _paid(job: Job) -> dict[int, int]:
    parts = [part.split(":") for part in str(job.get("paid", "")).split(",") if part]
    return {int(attempt): int(cost) for attempt, cost in parts}


def _written(paid: dict[int, int]) -> str:
    return ",".join(f"{attempt}:{cost}" for attempt, cost in paid.items() if cost)
