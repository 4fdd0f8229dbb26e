"""The job queue: one Lua script a verb, and the class that sends them."""

from shared.jobqueue.queue import JobQueue
from shared.jobqueue.replies import Admitted, Canceled, Claim, Claimed, Ended, Overdue, QueueCounts, Stats

__all__ = [
    "Admitted", "Canceled", "Claim", "Claimed", "Ended", "JobQueue", "Overdue", "QueueCounts", "Stats",
]  # fmt: skip
