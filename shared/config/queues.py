"""The queues of a deployment: what each allows its jobs."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_QUEUES = 20  # as in shared/jobqueue/scripts/prelude.lua
DAY = 86_400


class QueueOptions(BaseModel):
    """What QUEUE_OPTIONS may say of a queue; what it does not say is the deployment's."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    concurrency: Annotated[int, Field(ge=1)] | None = None
    retries: Annotated[int, Field(ge=0, le=20)] | None = None
    retry_delay: Annotated[int, Field(ge=0, le=DAY * 1000)] | None = None  # ms
    ttl: Annotated[float, Field(gt=0, le=30 * DAY)] | None = None  # s; how long a job may wait
    deadline: Annotated[float, Field(ge=5, le=1800)] | None = (
        None  # s; how long a run may take, at most Replicate's run limit
    )


@dataclass(frozen=True)
class Queue:
    """A queue and its place in the store for good."""

    name: str
    number: int
    concurrency: int  # jobs at the provider at once
    max_attempts: int
    retry_delay: int  # ms before the first retry; each later one waits twice as long
    ttl: float  # s
    deadline: float  # s
