"""What the verbs answer that only read, as types; see replies.py."""

from dataclasses import field

from shared.frozen import dataclass
from shared.jobqueue.replies import Reply


@dataclass(frozen=True)
class Outlook(Reply):
    """Where a live job waits or runs, and what moves it. Times in ms; what is None is not known or does not matter.

    ``position`` is among the ready jobs of its queue, or in its user's backlog among the user's own. ``at_provider``
    and ``in_all`` are how many ready jobs of its provider, and of all, come before it, with itself if it is ready.
    """

    position: int | None = None
    p50: int = 0
    p90: int = 0
    slots: int | None = None
    of_queue: int | None = None
    of_provider: int | None = None
    at_provider: int | None = None
    in_all: int | None = None
    seats: int | None = None
    cap: int | None = None
    gates: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Explained(Reply):
    """A job's fields as they were asked for, and its outlook unless it has ended."""

    values: tuple[str | None, ...]
    outlook: Outlook | None


@dataclass(frozen=True)
class ProviderPause(Reply):
    """Why a provider is paused: since when (ms), the last refusal, how many there were, and of which models."""

    provider: str
    since: int
    at: int
    code: str
    status: int
    refusals: int
    models: tuple[str, ...]


@dataclass(frozen=True)
class Counted(Reply):
    """What the stats script counts: in ``counts`` running and ready jobs, one queue after the other.

    ``of_keys`` are the running and waiting jobs, one API key after the other; none where there is one key.
    """

    delayed: int
    dead: int
    counts: tuple[int, ...]
    counters: dict[str, int]
    backlog: int
    gates: dict[str, int]
    unknown: int
    lost: dict[str, int]
    of_keys: tuple[int, ...]
    pauses: tuple[ProviderPause, ...]


@dataclass(frozen=True)
class QueueCounts:
    """One queue's jobs at the provider and ready."""

    name: str
    running: int
    ready: int
    concurrency: int


@dataclass(frozen=True)
class KeyCounts:
    """One API key's jobs at the providers and waiting."""

    name: str
    running: int
    waiting: int


@dataclass(frozen=True)
class Stats:
    """What waits and runs, and the counters of what ended."""

    queues: tuple[QueueCounts, ...]
    delayed: int
    dead: int
    counters: dict[str, int]
    backlog: int = 0
    gates: dict[str, int] = field(default_factory=dict)
    unknown: int = 0  # submissions whose outcome is unknown
    lost: dict[str, int] = field(default_factory=dict)  # the jobs of the oldest of these, and when each was submitted
    keys: tuple[KeyCounts, ...] = ()  # empty where there is one API key
    pauses: tuple[ProviderPause, ...] = ()

    @property
    def tick_at(self) -> int | None:
        return self.counters.get("tick_at")


@dataclass(frozen=True)
class Facts(Reply):
    """What keeps jobs from their providers. Times in ms; None is not known.

    ``job`` could have started at ``since``, and has not; '' if there is none. ``unknown`` slots are held by submissions
    without an answer.
    """

    tick_at: int | None
    job: str = ""
    since: int | None = None
    gates: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    webhook_refused_at: int | None = None  # a webhook with a right nonce had a wrong signature


@dataclass(frozen=True)
class Gates(Reply):
    """The limits and pauses that stand, and why the providers among them are paused.

    ``is_late``: the change was not made, since another one came before it.
    """

    is_late: bool
    standing: dict[str, int]
    pauses: tuple[ProviderPause, ...]


@dataclass(frozen=True)
class BatchRead(Reply):
    """A batch's fields, its jobs that live and run, and results one after the other; all empty without the batch."""

    fields: dict[str, str]
    live: tuple[str, ...]
    running: tuple[str, ...]
    results: tuple[str, ...]


@dataclass(frozen=True)
class ListedJob(Reply):
    id: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class JobsRead(Reply):
    """Some of an owner's jobs, and where the next page begins."""

    jobs: tuple[ListedJob, ...]
    high: int | None
    bound: str


@dataclass(frozen=True)
class JobsBrowsed(Reply):
    """Some jobs of all owners, and where the next page of this part of the index begins; '' if there is none."""

    jobs: tuple[ListedJob, ...]
    high: str
    bound: str


@dataclass(frozen=True)
class UserLimits(Reply):
    """The own concurrency of each user who was asked for, in their order; '' is the deployment's."""

    limits: tuple[str | None, ...]


@dataclass(frozen=True)
class ListedLetter(Reply):
    id: str
    died_at: int
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class LettersRead(Reply):
    """Some dead letters, and where the next page begins."""

    letters: tuple[ListedLetter, ...]
    high: int | None
    bound: str


@dataclass(frozen=True)
class GivenUp(Reply):
    """An event that was given up, as ``event|id`` of its holder, which may no longer be kept."""

    row: str
    at: int  # ms
    is_kept: bool
    incarnation: str


@dataclass(frozen=True)
class Undelivered(Reply):
    """Some events that were given up, the last first, and where the next page begins."""

    events: tuple[GivenUp, ...]
    high: int | None
    bound: str
