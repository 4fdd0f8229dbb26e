"""The deployment's limits as the scripts take them, written out once."""

import math
from datetime import timedelta

from shared.config.providers import MAX_PROVIDERS, NUMBERS, REGISTRY
from shared.config.settings import Settings
from shared.config.timing import CLOCK_MARGIN, LATE_MARGIN, LIST_GAP
from shared.jobqueue.priority import CEILINGS, POINTS_PER_PRIORITY, RETRY_POINTS, fair_head_start
from shared.signing.shares import shares_of_key


def ms(seconds: float) -> str:
    """A duration in s as a job's fields hold it."""
    return str(round(seconds * 1000))


def lane_of(queue_number: int, provider: str) -> int:
    """The number of the lane that the jobs of a queue wait in for a provider."""
    return queue_number * MAX_PROVIDERS + NUMBERS[provider]


def provider_in(lane: int) -> str:
    """The name of a lane's provider."""
    return REGISTRY[lane % MAX_PROVIDERS].name


class Terms:
    """Arguments that do not change while a deployment runs, each under the name that the scripts' headers use."""

    def __init__(self, s: Settings) -> None:
        self.ttl = timedelta(seconds=s.task_ttl)
        self.slot_limit = s.max_concurrent_tasks
        self.queue_limits = [queue.concurrency for queue in s.queue_list]
        self.provider_limits = [number for listing in range(len(REGISTRY)) for number in self._provider(s, listing)]
        self.lanes = [lane_of(q.number, name) for q in s.queue_list for name in s.provider_names]
        self.queues = len(s.queue_list)
        self.user_limit = s.max_user_tasks
        self.user_queued = s.user_queued
        self.queue_size = s.max_queue_size
        self.key_queued = s.key_queued
        self.key_tasks = s.key_tasks
        # One key's jobs are all jobs.
        self.key_shares = [shares_of_key(name)[0] for name in s.callers] if len(s.callers) > 1 else []
        self.user_waiting = s.user_waiting
        # Where users may queue more than they may run, each end looks for the next of its user.
        self.heirs = s.user_queued > s.max_user_tasks
        self.statistics = s.statistics
        self.is_fair = s.priority_policy == "fair"
        # Which policy's scores may be above those of another, and above what a score is another's: see is_foreign.
        self.scale = "" if s.priority_policy == "offset" else s.priority_policy
        self.ceiling = CEILINGS[s.priority_policy]
        self.weights = sorted(set(s.weights.values())) if s.key_weights else []  # of the tiers
        # A caller has given up after the total, and its clock may differ from the store's by the margin.
        self.patience = timedelta(seconds=s.store_total_timeout + s.timing_scale * LATE_MARGIN)
        self.lease = timedelta(seconds=s.lease)
        self.check_interval = timedelta(seconds=s.check_interval)
        self.circuit_failures = s.circuit_failures
        self.circuit_pause = timedelta(seconds=s.circuit_pause)
        self.budgets = s.budget_limits
        self.retry_bonus = self._units(s, RETRY_POINTS)
        # None where a priority is a factor and not a head start
        self.priority_unit = None if s.priority_policy == "multiplicative" else self._units(s, POINTS_PER_PRIORITY)
        # An hour more than anything can be adopted
        longest = max(s.adoption(queue, REGISTRY[NUMBERS[name]]) for queue in s.queue_list for name in s.provider_names)
        self.prediction_ttl = timedelta(seconds=round(s.lease + longest) + 3600)
        self.list_gap = timedelta(seconds=s.timing_scale * LIST_GAP)
        # Each may have made a prediction from CLOCK_MARGIN before its claim to CLOCK_MARGIN after its lease.
        self.twin_reach = timedelta(seconds=s.lease + 2 * s.timing_scale * CLOCK_MARGIN)

    @staticmethod
    def _provider(s: Settings, number: int) -> tuple[int, int, int]:
        """Concurrency, ms for a token, and burst of one provider."""
        concurrency, per_minute, burst = s.provider_limits(REGISTRY[number])
        return concurrency, math.ceil(60_000 / per_minute), burst

    @staticmethod
    def _units(s: Settings, points: int) -> int:
        """What so many points are worth in the unit of the policy's scores."""
        match s.priority_policy:
            case "offset":
                return round(points * s.priority_seconds_per_point * 1000)
            case "fair":
                return fair_head_start(points, s.priority_grants_per_point)
            case _:
                return 0
