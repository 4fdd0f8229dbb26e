"""The queues of a deployment: what each allows its jobs."""

import functools
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.config.limits import LimitSettings
from shared.config.quantities import Milliseconds
from shared.config.timing import TimingSettings
from shared.frozen import dataclass

MAX_QUEUES = 20  # final: jobs in a store are numbered with it; see shared/jobqueue/constants.py
DAY = 86_400


class QueueOptions(BaseModel):
    """What QUEUE_OPTIONS may set for a queue; the rest is the deployment's."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    concurrency: Annotated[int, Field(ge=1)] | None = None
    retries: Annotated[int, Field(ge=0, le=20)] | None = None
    retry_delay: Annotated[int, Field(ge=0, le=DAY * 1000)] | None = None  # ms
    ttl: Annotated[float, Field(gt=0, le=30 * DAY)] | None = None  # s; how long a job may wait
    # s; how long a run may take, at most Replicate's run limit
    deadline: Annotated[float, Field(ge=5, le=1800)] | None = None


@dataclass(frozen=True)
class Queue:
    """A queue and its permanent number in the store."""

    name: str
    number: int
    concurrency: int  # jobs at the provider at once
    max_attempts: int
    retry_delay: int  # ms before the first retry; each later one waits twice as long
    ttl: float  # s
    deadline: float  # s


class QueueSettings(LimitSettings, TimingSettings):
    """The queues, and what a queue's jobs get unless QUEUE_OPTIONS says otherwise."""

    # More queues, name:concurrency[,...]. Append only: a queue's place here is its number in the store.
    queues: str = Field("", pattern=r"^([a-z][a-z0-9_-]{0,31}(:[1-9][0-9]{0,3})?( *, *|$))*$")
    # JSON: {"video": {"concurrency": 4, "retries": 1, "retry_delay": 5000, "ttl": 3600, "deadline": 900}, ...}
    queue_options: dict[str, QueueOptions] = Field(default_factory=dict)
    queue_concurrency: int | None = Field(None, ge=1)  # of each queue that names none; default: the system's limit
    storyboard_concurrency: int = Field(3, ge=1)
    queue_ttl: float = Field(86_400.0, gt=0, le=2_592_000)  # s; a job that has waited so long ends failed, `expired`
    queue_max_retries: int = Field(3, ge=0, le=20)
    queue_retry_delay: Milliseconds = 60_000

    @functools.cached_property
    def queue_list(self) -> tuple[Queue, ...]:
        """All queues in the order of their numbers."""
        common = self.queue_concurrency or self.max_concurrent_tasks
        named = [("video", common), ("storyboard", self.storyboard_concurrency)]
        for entry in filter(None, (part.strip() for part in self.queues.split(","))):
            name, _, concurrency = entry.partition(":")
            named.append((name.strip(), int(concurrency) if concurrency.strip() else common))
        return tuple(self._queue(name, number, concurrency) for number, (name, concurrency) in enumerate(named))

    def _queue(self, name: str, number: int, concurrency: int) -> Queue:
        options = self.queue_options.get(name, QueueOptions())
        retries = self.queue_max_retries if options.retries is None else options.retries
        return Queue(
            name,
            number,
            concurrency=options.concurrency or concurrency,
            max_attempts=1 + retries,
            retry_delay=self.queue_retry_delay if options.retry_delay is None else options.retry_delay,
            ttl=options.ttl or self.queue_ttl,
            deadline=options.deadline or self.cancel_after,
        )

    def faults(self) -> list[str]:
        problems = []
        names = [queue.name for queue in self.queue_list]
        if len(names) != len(set(names)) or len(names) > MAX_QUEUES:
            problems.append(f"QUEUES names a queue twice, or makes more than {MAX_QUEUES} of them")
        if not set(self.queue_options) <= set(names):
            problems.append("QUEUE_OPTIONS names a queue that does not exist")
        return problems + super().faults()
