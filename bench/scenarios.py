"""The jobs of bench.fairness: the same for every policy, at simulated times."""

import random
from dataclasses import dataclass

SPACING = 10  # ms between two submits
LIGHT = tuple(60_000 + n * 97_000 for n in range(5))  # ms; arrivals of the light users, each with one job
LATER = 600_000  # ms; arrival of the others behind a flood
# ms that a job takes at the provider; below the lease, so that no rescue touches it
MIN_DURATION, MAX_DURATION = 20_000, 60_000
ACCOUNTS = 20
OTHERS = ("ada", "ben", "cleo")


@dataclass(frozen=True)
class Work:
    """One job: its user and tier, its arrival and its duration in ms."""

    id: str
    user: str
    tier: str
    at: int
    took: int


@dataclass(frozen=True)
class Scenario:
    """Jobs in the order of their arrival; ``crowd`` has the users whom Jain's index compares, with their weights."""

    name: str
    works: tuple[Work, ...]
    crowd: dict[str, int]
    light: tuple[str, ...]


Plan = list[tuple[int, str, str]]  # when, user, tier


def _burst(plan: Plan, user: str, jobs: int, tier: str = "free", at: int | None = None) -> None:
    """Adds all of a user's jobs one after another, from ``at`` on or behind those planned so far."""
    start = len(plan) * SPACING if at is None else at
    plan.extend((start + n * SPACING, user, tier) for n in range(jobs))


def _scenario(name: str, plan: Plan, crowd: dict[str, int]) -> Scenario:
    """Returns the plan's scenario, with a few light users who arrive while its crowd waits."""
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
    """Adds users who arrive later with a thirtieth of the jobs each; returns their weights."""
    for user in OTHERS:
        _burst(plan, user, max(1, jobs // 30), at=LATER)
    return dict.fromkeys(OTHERS, 1)


def flood(jobs: int, tier: str, weights: dict[str, int]) -> Scenario:
    """Returns a scenario where one user has nearly all jobs."""
    plan: Plan = []
    _burst(plan, "flood", jobs * 9 // 10, tier=tier)
    return _scenario(f"one {tier} user floods", plan, {"flood": weights[tier]} | _others(plan, jobs))


def sharded(jobs: int) -> Scenario:
    """Returns the same flood, spread over many accounts."""
    plan: Plan = []
    accounts = [f"shard{n}" for n in range(ACCOUNTS)]
    for n in range(jobs * 9 // 10):
        _burst(plan, accounts[n % ACCOUNTS], 1)
    return _scenario(f"flood over {ACCOUNTS} accounts", plan, dict.fromkeys(accounts, 1) | _others(plan, jobs))


def mixed(jobs: int, weights: dict[str, int]) -> Scenario:
    """Returns two users of each tier with equally many jobs."""
    plan: Plan = []
    crowd = {f"{tier}{n}": weights[tier] for n in range(2) for tier in weights}
    for user in crowd:
        _burst(plan, user, jobs // len(crowd), tier=user[:-1])
    return _scenario("mixed tiers", plan, crowd)


def equal(jobs: int) -> Scenario:
    """Returns ten users with equally many jobs, one user's burst after another's."""
    plan: Plan = []
    crowd = {f"user{n}": 1 for n in range(10)}
    for user in crowd:
        _burst(plan, user, jobs // len(crowd))
    return _scenario("equal users", plan, crowd)


def scenarios(jobs: int, weights: dict[str, int]) -> list[Scenario]:
    """Returns all scenarios, with about ``jobs`` jobs each."""
    floods = [flood(jobs, "free", weights), flood(jobs, "pro", weights)]
    return [*floods, sharded(jobs), mixed(jobs, weights), equal(jobs)]
