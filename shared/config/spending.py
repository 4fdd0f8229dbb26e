"""What runs of each model cost, and how much may be spent. Money is in US dollars here, and in micro-dollars inside."""

import functools
import math
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.config.environment import EnvironmentSettings

MICROS = 1_000_000  # of a dollar
DEFAULT = "default"  # the price of models that have none of their own; a model's name has a slash or 64 digits
MOST_OF_RUN = 10_000.0  # dollars
MOST_OF_MONTH = 900_000.0  # dollars; a script takes fewer micro-dollars than a moment has ms, see kinds.py
NONE = -1  # in place of a budget

Dollars = Annotated[float, Field(ge=0, le=MOST_OF_RUN, allow_inf_nan=False)]
Amount = Annotated[float, Field(gt=0, le=MOST_OF_MONTH, allow_inf_nan=False)]
# The names of metrics that a provider reports, such as predict_time or video_output_duration_seconds
METRIC = r"^[a-z][a-z0-9_]{0,63}$"
Metric = Annotated[str, Field(pattern=METRIC)]
SMALLEST = Decimal("0.000001")  # micro-dollars, of what a unit costs


def micros(dollars: float) -> int:
    """Whole micro-dollars, rounded up."""
    return math.ceil(_exact(dollars))


def _exact(dollars: float) -> Decimal:
    """Micro-dollars of a number as it was written: 0.07 has a little more in binary."""
    return Decimal(repr(dollars)) * MICROS


class Price(BaseModel):
    """What a run of a model costs: ``run``, and so much ``per`` unit of what its provider reports.

    ``at_most`` is reserved for each run, and is its cost if the provider does not say; default: ``run``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    run: Dollars = 0.0
    per: dict[Metric, Dollars] = Field(default_factory=dict)
    at_most: Dollars | None = None
    failed_is_free: bool = False

    @property
    def bound(self) -> int:
        """What a run costs at most, in micro-dollars."""
        return micros(self.run if self.at_most is None else self.at_most)

    @property
    def text(self) -> str:
        """The price as a job's record holds it; spending.lua has the form."""
        parts = [f"at_most={self.bound}", f"run={micros(self.run)}"]
        # Not whole: a token may cost less than a micro-dollar.
        per = {name: _exact(dollars).quantize(SMALLEST, ROUND_CEILING) for name, dollars in sorted(self.per.items())}
        parts += [f"*{name}={amount:f}" for name, amount in per.items()]
        return ",".join(parts + ["failed_is_free=1"] * self.failed_is_free)

    @model_validator(mode="after")
    def _has_bound(self) -> Self:
        if self.at_most is None and self.per:
            raise ValueError("a price per unit needs at_most, which is reserved for each run")
        if self.at_most is not None and self.at_most < self.run:
            raise ValueError("at_most must not be below run")
        return self


class Budget(BaseModel):
    """How much may be spent in a day and in a month, of UTC; None: as much as asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    day: Amount | None = None
    month: Amount | None = None


class Budgets(BaseModel):
    """The budget of each ``user`` of each API key, and the one of ``all`` together."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    user: Budget = Budget()
    all: Budget = Budget()


class SpendingSettings(EnvironmentSettings):
    """Prices and budgets; without budgets, no command is spent on either."""

    # JSON: {"owner/name": {"run": 0.05}, "default": {"per": {"predict_time": 0.0014}, "at_most": 0.6}}
    prices: dict[str, Price] = Field(default_factory=dict)
    budgets: Budgets | None = None  # JSON: {"user": {"day": 5, "month": 50}, "all": {"month": 1000}}

    def price_of(self, model: str) -> Price | None:
        """What a run of the model costs: by its name, by its name without the version, or by the default."""
        for name in (model, model.partition(":")[0], DEFAULT):
            if name in self.prices:
                return self.prices[name]
        return None

    @functools.cached_property
    def priced_metrics(self) -> frozenset[str]:
        """The metrics that any price asks for."""
        return frozenset(name for price in self.prices.values() for name in price.per)

    @functools.cached_property
    def budget_limits(self) -> list[int]:
        """The budgets as spending.lua takes them, in micro-dollars; empty without any."""
        limits = self.budgets and [
            self.budgets.user.day, self.budgets.user.month, self.budgets.all.day, self.budgets.all.month,
        ]  # fmt: skip
        given = [NONE if limit is None else micros(limit) for limit in limits or []]
        return given if any(limit != NONE for limit in given) else []

    @property
    def is_default_low(self) -> bool:
        """Whether a model that has its own price may be run at a lower one, under another name."""
        default = self.prices.get(DEFAULT)
        return default is not None and any(price.bound > default.bound for price in self.prices.values())

    def faults(self) -> list[str]:
        problems = []
        if self.budget_limits and DEFAULT not in self.prices:
            problems.append(
                "BUDGETS needs a price of `default` in PRICES: without one, other models would cost nothing"
            )
        return problems + super().faults()
