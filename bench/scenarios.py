"""Who submits what in bench.fairness: the same jobs for every policy, in simulated milliseconds."""

import random
from dataclasses import dataclass

SPACING = 10  # ms between two submits
LIGHT = tuple(60_000 + n * 97_000 for n in range(5))  # ms when the light users come, each with one job
LATER = 600_000  # ms when the others come behind a flood
# ms that a job takes at the provider; below the lease, so that no rescue looks at it
MIN_DURATION, MAX_DURATION = 20_000, 60_000
ACCOUNTS = 20
OTHERS = ("ada", "ben", "cleo")


@dataclass(frozen=True)
class Work:
    """One job: when it comes, whose it is, and how long it will take."""

    id: str
    user: str
    tier: str
    at: int
    took: int


@dataclass(frozen=True)
class Scenario:
    """Jobs in the order of their arrival; ``crowd`` are the users that Jain's index compares, with their weights."""

    name: str
    works: tuple[Work, ...]
    crowd: dict[str, int]
    light: tuple[str, ...]


Plan = list[tuple[int, str, str]]  # when, user, tier


def _burst(plan: Plan, user: str, jobs: int, tier: str = "free", at: int | None = None) -> None:
    """All of a user's jobs one after the other, behind those planned so far unless ``at`` is said."""
    start = len(plan) * SPACING if at is None else at
    plan.extend((start + n * SPACING, user, tier) for n in range(jobs))


def _scenario(name: str, plan: Plan, crowd: dict[str, int]) -> Scenario:
    """The plan, and while its crowd waits, a few users with one job each."""
    light = tuple(f"light{n}" for n in range(len(LIGHT)))
    for user, at in zip(light, LIGHT, strict=True):
        _burst(plan, user, 1, at=at)
    rng = random.Random(7)
    works = tuple(
        Work(f"job_{n:032x}", user, tier, at, rng.randint(MIN_DURATION, MAX_DURATION))
        for n, (at, user, tier) in enumerate(sorted(plan))
    )
    return Scenario(name, works, crowd, light)


def _others(plan: Plan, jobs: int) -> dict[str, int]:
    """Who comes later with a thirtieth of the jobs each; their weights."""
    for user in OTHERS:
        _burst(plan, user, max(1, jobs // 30), at=LATER)
    return dict.fromkeys(OTHERS, 1)


def flood(jobs: int, tier: str, weights: dict[str, int]) -> Scenario:
    """One user with nearly all jobs."""
    plan: Plan = []
    _burst(plan, "flood", jobs * 9 // 10, tier=tier)
    return _scenario(f"one {tier} user floods", plan, {"flood": weights[tier]} | _others(plan, jobs))


def sharded(jobs: int) -> Scenario:
    """The same flood, spread over many accounts."""
    plan: Plan = []
    accounts = [f"shard{n}" for n in range(ACCOUNTS)]
    for n in range(jobs * 9 // 10):
        _burst(plan, accounts[n % ACCOUNTS], 1)
    return _scenario(f"flood over {ACCOUNTS} accounts", plan, dict.fromkeys(accounts, 1) | _others(plan, jobs))


def mixed(jobs: int, weights: dict[str, int]) -> Scenario:
    """Two users of each tier with as many jobs each."""
    plan: Plan = []
    crowd = {f"{tier}{n}": weights[tier] for n in range(2) for tier in weights}
    for user in crowd:
        _burst(plan, user, jobs // len(crowd), tier=user[:-1])
    return _scenario("mixed tiers", plan, crowd)


def equal(jobs: int) -> Scenario:
    """Ten users with as many jobs each, one user's burst after the other's."""
    plan: Plan = []
    crowd = {f"user{n}": 1 for n in range(10)}
    for user in crowd:
        _burst(plan, user, jobs // len(crowd))
    return _scenario("equal users", plan, crowd)


def scenarios(jobs: int, weights: dict[str, int]) -> list[Scenario]:
    """All of them, with about so many jobs each."""
    floods = [flood(jobs, "free", weights), flood(jobs, "pro", weights)]
    return [*floods, sharded(jobs), mixed(jobs, weights), equal(jobs)]
