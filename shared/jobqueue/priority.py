"""What a job waits with: a score in milliseconds, lowest first.

offset: the time of submission minus a head start, so that priority ages by itself and nothing starves: a job that came
a head start earlier always goes first. multiplicative: ``timestamp * (6 - priority)``, in which a low priority can wait
for ever behind a steady stream of high ones; it is offered because existing deployments order by it. fair: a tag in
virtual time, made inside the script from what it finds there; here only what it needs: a head start and a price.
"""

from shared.config.order import Policy, Tier
from shared.jobqueue.constants import GRANT

TIER_POINTS: dict[Tier, int] = {"free": 0, "premium": 100, "pro": 200}
POINTS_PER_PRIORITY = 100
RETRY_POINTS = 10
# Above these hundredths of the present moment, a score was made by another policy. `fair` has the highest scores. Each
# score of `multiplicative` is at most five times a moment of the past, and the lowest of `fair` above that until 2033.
CEILINGS: dict[Policy, int | None] = {"offset": 150, "multiplicative": 501, "fair": None}
NEUTRAL_PRIORITY = 3


def points(priority: int, tier: Tier, prompt_length: int) -> float:
    """The head start in points: explicit priority, tier of the user, and up to 10 for a long prompt."""
    explicit = (priority - NEUTRAL_PRIORITY) * POINTS_PER_PRIORITY
    return explicit + TIER_POINTS[tier] + min(prompt_length / 100, 10)


def offset(now: int, head_start: float, seconds_per_point: float) -> int:
    """The score under PRIORITY_POLICY=offset; ``now`` in ms."""
    return max(0, now - round(head_start * seconds_per_point * 1000))


def multiplicative(now: int, priority: int) -> int:
    """The score under PRIORITY_POLICY=multiplicative; ``now`` in ms."""
    return now * (6 - priority)


def fair_head_start(points: float, grants_per_point: float) -> int:
    """The head start under PRIORITY_POLICY=fair, in tag units."""
    return round(points * grants_per_point * GRANT)


def fair_cost(weight: int) -> int:
    """How far one job moves its user's tag on under PRIORITY_POLICY=fair."""
    return GRANT // weight
