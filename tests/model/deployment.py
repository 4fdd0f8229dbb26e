"""The limits of a deployment, computed from its settings independently of shared/jobqueue/terms.py."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil

from shared.config.providers import REGISTRY, Listing
from shared.config.queues import Queue
from shared.config.settings import Settings
from shared.jobqueue.constants import MAX_GATES, MAX_HEAD, PROVIDERS
from shared.jobqueue.priority import POINTS_PER_PRIORITY, RETRY_POINTS


@dataclass(frozen=True)
class Deployment:
    """``most_gates``: how many rows beyond the limits a script reads, and ``most_rows``: how many at first. A small
    number cuts its view short."""

    settings: Settings
    most_gates: int = MAX_GATES
    most_rows: int = MAX_HEAD

    @property
    def turns_limits(self) -> bool:
        """Whether there is room for the gates of live limits in what a script reads."""
        return self.most_gates > 16

    @property
    def limit(self) -> int:
        return self.settings.max_concurrent_tasks

    @property
    def queues(self) -> tuple[Queue, ...]:
        return self.settings.queue_list

    @property
    def names(self) -> list[str]:
        return [queue.name for queue in self.queues]

    @property
    def cap(self) -> int:
        """The concurrency of a user without a live limit."""
        return self.settings.max_user_tasks

    @property
    def user_queued(self) -> int:
        return max(self.settings.max_user_tasks, self.settings.max_user_queued or 0)

    @property
    def heirs(self) -> str:
        return "1" if self.user_queued > self.cap else "0"

    @property
    def is_fair(self) -> bool:
        return self.settings.priority_policy == "fair"

    @property
    def lease(self) -> int:
        return round(self.settings.lease * 1000)

    @property
    def check(self) -> int:
        return round(self.settings.check_interval * 1000)

    @cached_property
    def providers(self) -> list[Listing]:
        return [listing for listing in REGISTRY if listing.name in self.settings.provider_names]

    @cached_property
    def lanes(self) -> list[int]:
        return [q.number * PROVIDERS + REGISTRY.index(p) for q in self.queues for p in self.providers]

    @cached_property
    def at_provider(self) -> list[int]:
        """How many predictions may run at each provider at once."""
        return [self.settings.provider_limits(listing)[0] for listing in REGISTRY]

    @cached_property
    def intervals(self) -> list[int]:
        """ms between two creates at each provider."""
        return [ceil(60_000 / self.settings.provider_limits(listing)[1]) for listing in REGISTRY]

    @cached_property
    def bursts(self) -> list[int]:
        return [self.settings.provider_limits(listing)[2] for listing in REGISTRY]

    @property
    def longest_adoption(self) -> int:
        """ms from the end of a lease until its submission is surely over, in the worst lane."""
        s = self.settings
        limits = [max(q.deadline, listing.run_limit) for q in self.queues for listing in self.providers]
        return round((max(limits) + s.adoption_margin) * 1000)

    def units(self, points: int) -> int:
        """The score of this many points of priority."""
        s = self.settings
        if s.priority_policy == "fair":
            return round(points * s.priority_grants_per_point * 10_000)
        return round(points * s.priority_seconds_per_point * 1000) if s.priority_policy == "offset" else 0

    @property
    def step(self) -> int:
        """How much lower a score is for one step of priority."""
        return self.units(POINTS_PER_PRIORITY)

    @property
    def bonus(self) -> int:
        """How much lower a score is after a failed attempt."""
        return self.units(RETRY_POINTS)


def queue_of(lane: int) -> int:
    return lane // PROVIDERS


def provider_of(lane: int) -> int:
    return lane % PROVIDERS
