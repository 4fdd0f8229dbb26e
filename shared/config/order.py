"""In which order waiting jobs start."""

import functools
from typing import Literal, get_args

from pydantic import Field

from shared.config.environment import EnvironmentSettings
from shared.config.quantities import Seconds, has_repeated_name, numbers_by_name

Policy = Literal["offset", "fair", "multiplicative"]
Tier = Literal["free", "premium", "pro"]  # what each is worth: TIER_POINTS in jobqueue/priority.py, weights below
TIERS: tuple[str, ...] = get_args(Tier)
A_WEIGHT = rf"({'|'.join(TIERS)}):[1-9][0-9]?"


class OrderSettings(EnvironmentSettings):
    """The priority policy and its weights."""

    default_priority: int = Field(3, ge=1, le=5)
    priority_policy: Policy = "offset"
    priority_seconds_per_point: Seconds = 1.0
    # The fair policy: a head start in grants for each point, and how many grants each tier gets in the same time
    priority_grants_per_point: float = Field(0.01, ge=0, le=10)
    tier_weights: str = Field("free:1,premium:2,pro:4", pattern=f"^{A_WEIGHT}(,{A_WEIGHT})*$")

    @functools.cached_property
    def weights(self) -> dict[str, int]:
        """Under the fair policy, how many grants each tier gets in the time in which weight 1 gets one."""
        named = numbers_by_name(self.tier_weights)
        return dict.fromkeys(TIERS, 1) | {tier: int(weight) for tier, weight in named.items()}

    def faults(self) -> list[str]:
        problems = ["TIER_WEIGHTS gives a name twice"] if has_repeated_name(self.tier_weights) else []
        return problems + super().faults()
