"""The price file, prices.toml: each number with its source and the date when it was read."""

import datetime
import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parent / "prices.toml"
COMMANDS_UNIT = 100_000
DAYS = 30  # of a month


@dataclass(frozen=True)
class Plan:
    """A plan of Upstash: dollars a month, megabytes, commands a month (None: no limit)."""

    name: str
    amount: float
    megabytes: float
    commands: int | None = None
    bandwidth: int | None = None  # GB a month


@dataclass(frozen=True)
class Prices:
    """Dollars by name, for the file's units; plans in the order of their price, the free one first."""

    date: datetime.date
    amounts: dict[str, float]
    plans: tuple[Plan, ...]

    def commands(self, count: float) -> float:
        """Returns the dollars for this many commands on Upstash, pay as you go."""
        return count / COMMANDS_UNIT * self.amounts["upstash.commands"]


def load(path: Path = FILE) -> Prices:
    """Returns the prices of a file."""
    read = tomllib.loads(path.read_text())
    plans = [
        Plan(plan["name"], plan["amount"], plan["megabytes"], plan.get("commands"), plan.get("bandwidth"))
        for plan in read["plans"]
    ]
    amounts = {price["name"]: float(price["amount"]) for price in read["prices"]}
    return Prices(read["date"], amounts, tuple(sorted(plans, key=lambda plan: plan.amount)))
