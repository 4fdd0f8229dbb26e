"""The job queue: one Lua script a verb, and the classes that send them."""

from shared.jobqueue.controls import Controls
from shared.jobqueue.queue import JobQueue
from shared.jobqueue.records import Records
from shared.jobqueue.replies import Admitted, Canceled, Claim, Claimed, Ended, Overdue, Place, QueueCounts, Stats

__all__ = [
    "Admitted", "Canceled", "Claim", "Claimed", "Controls", "Ended", "JobQueue", "Overdue", "Place", "QueueCounts",
    "Records", "Stats",
]  # fmt: skip
