"""The jobs of bench.isolation: innocent users, and one guilty party that may or may not be there."""

import random
from dataclasses import dataclass, replace
from typing import Any

from bench.account import REFUSED_MODEL, Plan
from bench.scenarios import MAX_DURATION, MIN_DURATION

MODEL = "acme/video"
USERS = 40  # innocent ones
EVERY = 12_000  # ms between two innocent jobs, on average: two thirds of what five slots can do
SELDOM = 25_000  # ms, likewise: less than half of the slots, which is what one of two keys may expect
RARELY = 300_000  # ms, likewise: successes of others rarely come between the failures of one user
BEGINS = 600_000  # ms; when the guilty party begins
STORM = 60_000  # ms
REFILL = 600_000  # ms between two batches of the flood
FLOOD_RUN = (60_000, 120_000)  # ms; its jobs hold their slots longer than others
INNOCENT, GUILTY = "app", "studio"  # names of API keys


@dataclass(frozen=True)
class Call:
    """One request at a moment (ms). ``prompts`` are its jobs': one for a submit, more for a batch."""

    at: int
    key: str
    path: str
    prompts: tuple[str, ...]
    body: dict[str, Any]
    is_innocent: bool


@dataclass(frozen=True)
class Trouble:
    """What happens in a scenario: calls in the order of time, what each job takes, and when creates get a 503.

    ``keys`` are the names of the deployment's API keys, ``policy`` is its PRIORITY_POLICY.
    """

    name: str
    calls: tuple[Call, ...]
    plans: dict[str, Plan]
    storm: tuple[int, int] | None = None
    keys: tuple[str, ...] = (INNOCENT,)
    policy: str = "offset"

    @property
    def innocent(self) -> tuple[Call, ...]:
        return tuple(call for call in self.calls if call.is_innocent)

    def alone(self) -> "Trouble":
        """Returns the scenario without its guilty party."""
        return Trouble(self.name, self.innocent, self.plans, keys=self.keys, policy=self.policy)


class Drafting:
    """Collects the calls of a scenario."""

    def __init__(self, jobs: int, every: int = EVERY) -> None:
        self.calls: list[Call] = []
        self.plans: dict[str, Plan] = {}
        self._chance = random.Random(7)
        at = 0.0
        for number in range(jobs):
            at += self._chance.expovariate(1 / every)
            self.submit(round(at), f"innocent {number}", f"user{self._chance.randrange(USERS)}", is_innocent=True)
        self.end = round(at)

    def submit(
        self,
        at: int,
        prompt: str,
        user: str,
        *,
        key: str = INNOCENT,
        model: str = MODEL,
        plan: Plan | None = None,
        is_innocent: bool = False,
    ) -> None:
        """Adds a job of its own."""
        self.plans[prompt] = plan or Plan(self._chance.randint(MIN_DURATION, MAX_DURATION))
        body = {"model": model, "input": {"prompt": prompt}, "user_id": user}
        self.calls.append(Call(at, key, "/api/submit", (prompt,), body, is_innocent))

    def batch(self, at: int, name: str, user: str, size: int) -> None:
        """Adds a batch of the guilty key."""
        prompts = tuple(f"{name} {number}" for number in range(size))
        self.plans |= {prompt: Plan(self._chance.randint(*FLOOD_RUN)) for prompt in prompts}
        jobs = [{"input": {"prompt": prompt}} for prompt in prompts]
        body = {"model": MODEL, "user_id": user, "queue": "video", "jobs": jobs}
        self.calls.append(Call(at, GUILTY, "/api/batches", prompts, body, is_innocent=False))

    def trouble(self, name: str, storm: tuple[int, int] | None = None) -> Trouble:
        """Returns the scenario."""
        return Trouble(name, tuple(sorted(self.calls, key=lambda call: call.at)), self.plans, storm)


def refused(jobs: int) -> Trouble:
    """Returns a user who submits a model that the account may not run, once a minute."""
    drafting = Drafting(jobs)
    for number, at in enumerate(range(BEGINS, drafting.end, 60_000)):
        drafting.submit(at, f"refused {number}", "locked-out", model=REFUSED_MODEL)
    return drafting.trouble("a model that the account may not run")


def failing(jobs: int) -> Trouble:
    """Returns a user whose jobs all fail after 5 s, on the model that all others use, at quiet hours."""
    drafting = Drafting(jobs, RARELY)
    for number, at in enumerate(range(BEGINS, drafting.end, 120_000)):
        drafting.submit(at, f"failing {number}", "failing", plan=Plan(5_000, fails=True))
    return drafting.trouble("a user whose jobs always fail")


def storm(jobs: int) -> Trouble:
    """Returns a minute in which the provider answers every create with a 503."""
    return Drafting(jobs).trouble("a minute of 5xx at every create", (BEGINS, BEGINS + STORM))


def flood(jobs: int, policy: str = "fair") -> Trouble:
    """Returns a second API key that fills the queue with batches of two users."""
    drafting = Drafting(jobs, SELDOM)
    # Five fill the queue of 1,000. What has started is replaced.
    moments = [BEGINS] * 5 + list(range(BEGINS, drafting.end, REFILL))
    for number, at in enumerate(moments):
        drafting.batch(at, f"flood {number}", f"flood{number % 2}", 200)
    drafted = drafting.trouble(f"a second key that floods, {policy}")
    return replace(drafted, keys=(INNOCENT, GUILTY), policy=policy)


def troubles(jobs: int) -> list[Trouble]:
    """Returns all scenarios, with ``jobs`` innocent jobs each."""
    return [refused(jobs), failing(jobs), storm(jobs), flood(jobs, "offset"), flood(jobs, "fair")]
