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
    # How many grants each API key gets in the same time, whatever number of users it has; without: no key is weighed
    key_weights: str = Field("", pattern=r"^([^:,]+:[1-9][0-9]?(,|$))*$")

    @functools.cached_property
    def weights(self) -> dict[str, int]:
        """Under the fair policy, how many grants each tier gets in the time in which weight 1 gets one."""
        named = numbers_by_name(self.tier_weights)
        return dict.fromkeys(TIERS, 1) | {tier: int(weight) for tier, weight in named.items()}

    @functools.cached_property
    def weights_of_keys(self) -> dict[str, int]:
        """What KEY_WEIGHTS says."""
        return {name: int(weight) for name, weight in numbers_by_name(self.key_weights).items()}

    def key_weight(self, owner: str) -> int | None:
        """How many grants an API key gets in the time in which weight 1 gets one; None if no key is weighed."""
        return self.weights_of_keys.get(owner, 1) if self.weights_of_keys else None

    def faults(self) -> list[str]:
        texts = {"TIER_WEIGHTS": self.tier_weights, "KEY_WEIGHTS": self.key_weights}
        problems = [f"{name} gives a name twice" for name, text in texts.items() if has_repeated_name(text)]
        if self.key_weights and self.priority_policy != "fair":
            problems.append(
                f"KEY_WEIGHTS weighs nothing under PRIORITY_POLICY={self.priority_policy}; only `fair` does"
            )
        return problems + super().faults()
