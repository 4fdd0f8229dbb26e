"""What the verbs answer, as types.

A class is one or more of the forms that a script's header lists after ``Returns:``. ``words`` are the first
words of these forms; see answers.py, which makes them. Times are in ms unless a unit is named.
"""

from typing import ClassVar, Literal

from shared.frozen import dataclass
from shared.jobqueue.state import CancelWord, Outcome


@dataclass(frozen=True)
class Reply:
    """Base of all of them."""

    words: ClassVar[tuple[str, ...]] = ()  # empty: the answer has one form, which begins with no word


@dataclass(frozen=True)
class Refusal(Reply):
    """Nothing was changed, and the caller gets an error; see Scripted._refused."""

    words = (
        "not_found", "conflict", "user_limit", "user_queue_full", "key_queue_full", "queue_full", "not_terminal",
        "belongs_to_batch", "no_event", "budget_exceeded",
    )  # fmt: skip

    word: str
    live: int = 0  # the user's tasks
    allowed: int = 0
    waiting: int = 0  # jobs of the user, of the API key, or of all
    whose: str = ""  # `user` or `all`: whose budget has no room
    period: str = ""  # `day` or `month`


@dataclass(frozen=True)
class Late(Reply):
    """Nothing was changed: the call was sent long before ``late_at``, a moment of the store's clock."""

    words = ("late",)

    late_at: int


@dataclass(frozen=True)
class Done(Reply):
    """Whether a verb that has nothing else to answer changed something."""

    words = (
        "noted", "set", "counted", "moved", "deleted", "kept", "queued", "restored",
        "stale", "replaced", "lost", "wait", "not_waiting", "in_place",
    )  # fmt: skip

    word: str
    follow: str = ""

    @property
    def has_changed(self) -> bool:
        return self.word not in ("stale", "replaced", "lost", "wait", "not_waiting", "in_place")


@dataclass(frozen=True)
class Claimed(Reply):
    """A job that this caller, and no other, has to submit now.

    ``deadline`` (s) is how long its run may take. ``claimed_at`` is when this process asked, by its own clock: its
    lease has begun no earlier than that. ``probe`` names the gate that this submission tries, if any.
    """

    id: str
    attempt: int
    provider: str
    model: str
    input: str
    owner: str
    user: str
    queue: str
    deadline: float
    claimed_at: int = 0
    probe: str = ""
    incarnation: str = ""


@dataclass(frozen=True)
class Overdue(Reply):
    """A job at a provider that this caller has to look at: a lapsed submission or a run due for a check."""

    words = ("ask",)

    id: str
    attempt: int
    provider: str
    state: str
    prediction: str
    submitted_at: int
    cancel_requested: bool
    deadline: float  # s
    incarnation: str = ""


@dataclass(frozen=True)
class Claim(Reply):
    """What a claim brought.

    ``missing`` counts index entries without a job: evicted or lost; they are gone now. ``expired`` names jobs that have
    waited too long and have to be ended; ``parked`` counts those put aside because their model's circuit is
    open, or their API key has all its slots.
    ``follow_ups`` is how much the outbox holds, reported to ticks alone. ``stuck`` names users, as owner:user, whose
    seats some jobs hold that cannot start now; a rehome gives them to others. ``foreign`` names waiting jobs, as
    owner:user|id, whose scores an earlier PRIORITY_POLICY made; a rehome gives them scores of the present one.
    """

    started: tuple[Claimed, ...]
    overdue: tuple[Overdue, ...]
    missing: int
    expired: tuple[str, ...] = ()
    parked: int = 0
    follow_ups: int = 0
    stuck: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    late_at: int | None = None  # the store's time, if this claim was sent long before

    @property
    def foreign_jobs(self) -> dict[str, list[str]]:
        """The ids of ``foreign`` by their users, as owner:user."""
        jobs: dict[str, list[str]] = {}
        for entry in self.foreign:
            user, _, job_id = entry.rpartition("|")
            jobs.setdefault(user, []).append(job_id)
        return jobs


@dataclass(frozen=True)
class Admitted(Reply):
    """The job was accepted, now or by an earlier call with the same idempotency key."""

    words = ("started", "queued", "backlog", "duplicate")

    word: Literal["started", "queued", "backlog", "duplicate"]
    position: int | None = None  # known when queued: in its queue; and in the backlog: among the user's own
    attention: bool = False


@dataclass(frozen=True)
class Recorded(Reply):
    """Whether a prediction is its attempt's; an owner may have asked for the job's end meanwhile."""

    words = ("recorded", "already", "stale")

    word: Literal["recorded", "already", "stale"]
    cancel_requested: bool = False
    follow: str = ""

    @property
    def is_unwanted(self) -> bool:
        """Whether the prediction has to be cancelled at the provider."""
        return self.cancel_requested or self.word == "stale"


@dataclass(frozen=True)
class Ended(Reply):
    """What an attempt's end did. ``word`` is the script's, or ``running`` where the provider reports no end.

    ``other`` is a prediction to cancel at the provider. ``waiting`` says whether something could start in its place,
    if the script looked. ``claimed`` is what the same call has claimed, if the caller wanted that and jobs waited.
    """

    words = ("finished", "already", "stale", "replaced", "unknown", "delayed", "requeued", "waiting")

    word: Literal["finished", "already", "stale", "replaced", "unknown", "delayed", "requeued", "waiting", "running"]
    outcome: str = ""
    waiting: bool | None = None
    other: str = ""
    due_at: int = 0
    adopt_until: int = 0
    follow: str = ""
    claimed: Claim | None = None

    @property
    def is_over(self) -> bool:
        """Whether this attempt is over, by this call or an earlier one."""
        return self.word in ("finished", "already")

    @property
    def is_known(self) -> bool:
        return self.word != "unknown"

    @property
    def frees_slot(self) -> bool:
        return self.word in ("finished", "delayed", "requeued")

    @property
    def makes_room(self) -> bool:
        """Whether the caller has jobs to start, or one that waits may be able to."""
        if self.claimed is not None:
            return True
        return self.frees_slot if self.waiting is None else self.waiting


@dataclass(frozen=True)
class Adopted(Reply):
    """The prediction that a lost submission was given; '' if there is none or it could be another's."""

    words = ("adopted", "none", "ambiguous", "stale")

    word: Literal["adopted", "none", "ambiguous", "stale"]
    prediction: str = ""
    follow: str = ""


@dataclass(frozen=True)
class Canceled(Reply):
    """What a cancellation did; the prediction is there when its provider has to be asked to end it."""

    words = ("canceled", "cancel_requested", "already_terminal")

    word: CancelWord
    outcome: Outcome | Literal[""] = ""
    attempt: int = 0
    prediction: str = ""
    provider: str = ""
    incarnation: str = ""
    follow: str = ""


@dataclass(frozen=True)
class Rehomed(Reply):
    """How many jobs of a user were put back, and how many were lost with their hashes."""

    words = ("checked",)

    rehomed: int
    missing: int
    rescored: int  # had a score of an earlier PRIORITY_POLICY
    follow: str = ""  # of a batch that a lost job has ended


@dataclass(frozen=True)
class Forgotten(Reply):
    """How many keys a script deleted."""

    forgotten: int


@dataclass(frozen=True)
class Reclaimed(Reply):
    """How many reservations of jobs without a record were released."""

    reclaimed: int


@dataclass(frozen=True)
class Created(Reply):
    """The batch was accepted, now or by an earlier call."""

    words = ("created", "duplicate")

    word: Literal["created", "duplicate"]


@dataclass(frozen=True)
class BatchCanceled(Reply):
    """How many jobs of a batch have ended, and of how many the end was asked for."""

    words = ("canceled", "already_terminal")

    word: Literal["canceled", "already_terminal"]
    ended: int = 0
    requested: int = 0
    follow: str = ""


@dataclass(frozen=True)
class Retried(Reply):
    words = ("retried",)

    count: int


@dataclass(frozen=True)
class Kept(Reply):
    """Whose job has files that are to be removed, and when it ended; their folder is named after both."""

    words = ("held",)

    user: str
    ended_at: int


@dataclass(frozen=True)
class Trimmed(Reply):
    """How many entries left the history: those of jobs that are gone, and those that moved into users' archives."""

    removed: int
    archived: int


@dataclass(frozen=True)
class Remains(Reply):
    """What lives of a user who is being erased: jobs, and batches as ``#batch``.

    ``quiet_at`` (ms): from then on, no upload URL or copy from before can bring a file back; 0 if none could.
    """

    live: tuple[str, ...]
    quiet_at: int


@dataclass(frozen=True)
class Released(Reply):
    """How many rows of the outbox were given back."""

    released: int


@dataclass(frozen=True)
class LaneRows(Reply):
    """A lane that was handed out: how often its host has failed in a row, and its rows ``event|id``.

    ``held_until`` (ms): until then some URL of the host gets nothing.
    """

    lane: str
    failures: int
    held_until: int | None
    rows: tuple[str, ...]


@dataclass(frozen=True)
class OutboxClaim(Reply):
    """Jobs whose files have to be stored, with their turns, and lanes of deliveries."""

    jobs: dict[str, int]
    lanes: tuple[LaneRows, ...]
