"""The states of a job: what its owner sees, which verbs move a job in and out, and what happens if no verb comes.

DESIGN.md shows the same table, and the model and the invariants read MOVES from here; tests compare them.
"""

from enum import StrEnum
from typing import Literal

Outcome = Literal["completed", "failed", "canceled"]
CancelWord = Literal["canceled", "cancel_requested", "already_terminal"]
Status = Literal["pending", "processing", "completed", "failed", "canceled"]


class JobState(StrEnum):
    """What the store holds as ``state``. Each member carries its story:

    public        the status that the owner sees, if it does not depend on the outcome
    entered_by    the verbs that move a job in
    left_by       the verbs that move it out
    left_alone    what happens if none of these is called
    """

    public: Literal["pending", "processing"] | None
    entered_by: str
    left_by: str
    left_alone: str

    def __new__(
        cls,
        value: str,
        public: Literal["pending", "processing"] | None = None,
        entered_by: str = "",
        left_by: str = "",
        left_alone: str = "",
    ) -> "JobState":
        state = str.__new__(cls, value)
        state._value_ = value
        state.public = public
        state.entered_by = entered_by
        state.left_by = left_by
        state.left_alone = left_alone
        return state

    @property
    def is_waiting(self) -> bool:
        """Whether a job in it cannot start before others make room, or before time has passed."""
        return self in (JobState.QUEUED, JobState.BACKLOG, JobState.DELAYED)

    BACKLOG = (
        "backlog",
        "pending",
        "enqueue, batch_create, batch_retry; limit_user, reprioritize, rescue (other jobs of the user are better);"
        " enqueue, rehome, snooze, finish, fail, cancel, batch_cancel, expire, rescue (other jobs of the user can"
        " start)",
        "cancel, batch_cancel, expire, finish (a late success); every verb that makes a job of the user ready",
        "a poll of the job, or the sweep of a tick, moves it into `queued` once its user's limit allows it",
    )
    QUEUED = (
        "queued",
        "pending",
        "enqueue, batch_create, rescue, claim (of a due job); finish, fail, snooze, cancel,"
        " batch_cancel, expire, rescue, trip (of another job of the user); limit_user, reprioritize, batch_retry,"
        " rehome; finish, fail, snooze, rescue (of another job of the API key)",
        "claim, cancel, batch_cancel, expire, finish (a late success); enqueue, limit_user, reprioritize, rescue"
        " (of a better job of the user); enqueue, rehome, snooze, finish, fail, cancel, batch_cancel, expire, rescue"
        " (it cannot start, and others of the user can)",
        "the next submit, ending webhook, poll or tick claims it",
    )
    SUBMITTING = (
        "submitting",
        "processing",
        "claim, enqueue, finish (of another job, whose caller starts this one)",
        "record, adopt, finish, fail, snooze, rescue",
        "its lease lapses; then rescue puts it back or ends it, after two lists without it or its adoption window",
    )
    RUNNING = (
        "running",
        "processing",
        "record, adopt",
        "finish, fail",
        "it becomes overdue: ticks and polls ask the provider",
    )
    DELAYED = (
        "delayed",
        "pending",
        "fail, snooze, rescue, claim (its model's circuit is open, or its API key has all its slots)",
        "claim, cancel, batch_cancel, expire, finish (a late success); finish, fail, snooze, rescue (a slot of its API"
        " key is free); enqueue, rehome, snooze, finish, fail, cancel, batch_cancel, expire, rescue (put aside, when"
        " other jobs of the user can start)",
        "as `queued`, once it is due",
    )
    DONE = (
        "done",
        None,
        "finish, fail, cancel, batch_cancel, rescue, snooze, expire",
        "no verb",
        "the store deletes it after `TASK_TTL`",
    )


FIRST_STATES = frozenset({JobState.QUEUED, JobState.BACKLOG, JobState.SUBMITTING})
MOVES: dict[JobState, frozenset[JobState]] = {
    # An end that gives a job its seat may claim in the same call.
    JobState.BACKLOG: frozenset({JobState.QUEUED, JobState.SUBMITTING, JobState.DELAYED, JobState.DONE}),
    JobState.QUEUED: frozenset({JobState.SUBMITTING, JobState.DELAYED, JobState.BACKLOG, JobState.DONE}),
    JobState.SUBMITTING: frozenset(
        {JobState.RUNNING, JobState.DELAYED, JobState.QUEUED, JobState.BACKLOG, JobState.DONE}
    ),
    JobState.RUNNING: frozenset({JobState.DELAYED, JobState.DONE}),
    JobState.DELAYED: frozenset({JobState.QUEUED, JobState.SUBMITTING, JobState.BACKLOG, JobState.DONE}),
    JobState.DONE: frozenset(),
}


def may_become(old: str, new: str) -> bool:
    """Whether a verb may move a job from one state to the other; '' is the state of a job that does not exist."""
    return new in (MOVES[JobState(old)] if old else FIRST_STATES)
