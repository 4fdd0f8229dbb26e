"""The state machine and its record: one Lua script for each verb, and the classes that send the scripts.

Owns every key of the queue. It never talks to a provider: what an end leaves to do, it returns as follow-ups.
"""

from shared.jobqueue.api_keys import ApiKeys, StoredKey
from shared.jobqueue.audit import Audit, AuditEntry
from shared.jobqueue.batching import BatchQueue
from shared.jobqueue.controls import Controls
from shared.jobqueue.follow_ups import Collector, FollowUp, FollowUps
from shared.jobqueue.history import History, Page, PageStart
from shared.jobqueue.leftovers import Leftovers
from shared.jobqueue.outbox import EventRecord, Lane, Outbox, Tried
from shared.jobqueue.overview import JobFilter, Overview, OwnLimit
from shared.jobqueue.queue import JobQueue
from shared.jobqueue.reads import Facts, Outlook, ProviderPause, QueueCounts, Stats
from shared.jobqueue.records import Records
from shared.jobqueue.replies import Admitted, Canceled, Claim, Claimed, Ended, Kept, Overdue, Recorded
from shared.jobqueue.spending import Spending, Spent

__all__ = [
    "Admitted",
    "ApiKeys",
    "Audit",
    "AuditEntry",
    "BatchQueue",
    "Canceled",
    "Claim",
    "Claimed",
    "Collector",
    "Controls",
    "Ended",
    "EventRecord",
    "Facts",
    "FollowUp",
    "FollowUps",
    "History",
    "JobFilter",
    "JobQueue",
    "Kept",
    "Lane",
    "Leftovers",
    "Outbox",
    "Outlook",
    "Overdue",
    "Overview",
    "OwnLimit",
    "Page",
    "PageStart",
    "ProviderPause",
    "QueueCounts",
    "Recorded",
    "Records",
    "Spending",
    "Spent",
    "Stats",
    "StoredKey",
    "Tried",
]  # fmt: skip
