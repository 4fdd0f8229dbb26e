"""Why a job waits, and for how long: the explanation that its owner sees with its state."""

from dataclasses import replace

from shared.clock import iso
from shared.config.providers import MAX_PROVIDERS, NUMBERS, REGISTRY
from shared.config.queues import Queue
from shared.config.settings import Settings
from shared.config.timing import LIST_GAP
from shared.documents.job import Explanation
from shared.frozen import dataclass
from shared.jobqueue import Outlook
from shared.jobqueue.keys import run_of
from shared.jobqueue.record import JobRecord
from shared.jobqueue.state import JobState
from shared.jobqueue.terms import provider_in

PER_MINUTE = 60_000


@dataclass(frozen=True)
class Bounds:
    """The limits that apply to one lane: the live ones, or else the configured ones.

    The provider takes a submission each ``interval`` ms, after a burst. Its bucket will be full at ``full_at``.
    """

    system: int
    queue: int
    provider: int
    interval: float
    burst: int
    full_at: int

    @classmethod
    def of(cls, settings: Settings, queue: Queue, provider: str, gates: dict[str, int]) -> "Bounds":
        number = NUMBERS[provider]
        most, per_minute, burst = settings.provider_limits(REGISTRY[number])
        return cls(
            gates.get("=s", settings.max_concurrent_tasks),
            gates.get(f"=q{queue.number}", queue.concurrency),
            gates.get(f"=p{number}", most),
            PER_MINUTE / per_minute,
            burst,
            gates.get(f"~r{number}", 0),
        )

    @property
    def narrowest(self) -> int:
        return min(self.system, self.queue, self.provider)

    def allowed_in(self, submissions: float, now: int) -> float:
        """Returns the ms until the provider's rate allows so many more submissions."""
        return max(0.0, max(self.full_at, now) - now + (submissions - self.burst) * self.interval)

    def turns_until(self, outlook: Outlook, position: int) -> float:
        """Returns how many runs, one after the other, end before the ready job at this position can start."""
        ahead = outlook.in_all or position
        system = (outlook.slots or 0) + ahead - self.system
        queue = (outlook.of_queue or 0) + position - self.queue
        provider = (outlook.of_provider or 0) + (outlook.at_provider or position) - self.provider
        return max(0.0, system / self.system, queue / self.queue, provider / self.provider)


def explain(job: JobRecord, outlook: Outlook, settings: Settings, now: int) -> Explanation:
    """Returns ``queue_position``, ``waiting_reason``, and ``eta_seconds`` with its p90; None for an unknown value.

    The estimates are the times within which half, and nine in ten, of the model's recent runs ended.
    """
    reason, starts_in = waiting(job, outlook, settings, now)
    return {
        "queue_position": outlook.position if job.state in (JobState.QUEUED, JobState.BACKLOG) else None,
        "waiting_reason": reason,
        "eta_seconds": _eta(job, outlook.p50, starts_in, now),
        "eta_p90_seconds": _eta(job, outlook.p90, starts_in, now),
    }


def _eta(job: JobRecord, usual: int, starts_in: "Wait | None", now: int) -> int | None:
    """Returns the seconds until the result if runs take ``usual`` ms; None if that is unknown."""
    if not usual:
        return None
    if job.state in (JobState.SUBMITTING, JobState.RUNNING):
        left = usual - (now - (job.submitted_at or now))
        return max(0, round(left / 1000))
    if starts_in is None:
        return None
    return max(0, round((starts_in.until_start(usual) + usual) / 1000))


@dataclass(frozen=True)
class Wait:
    """The time until a start: a fixed part in ms, and then the number of runs that must end before it.

    Meanwhile the provider's rate needs ``rate`` ms; the longer of both counts.
    """

    fixed: float = 0.0
    turns: float = 0.0
    rate: float = 0.0

    def until_start(self, usual: int) -> float:
        """Returns the ms until the start, if runs take ``usual`` ms."""
        return self.fixed + max(self.turns * usual, self.rate)


def waiting(job: JobRecord, outlook: Outlook, settings: Settings, now: int) -> tuple[str | None, Wait | None]:
    """Returns why the job waits, and for how long; None for the time if an operator has paused it."""
    match job.state:
        case JobState.BACKLOG:
            cap = outlook.cap or 0
            reason = f"user limit {outlook.seats} of {cap}" if cap else "the user is paused"
            return reason, _in_backlog(job, outlook, settings, now) if cap else None
        case JobState.DELAYED:
            due_at = job.due_at or now
            code = job.snooze_code
            reason = f"retry at {iso(due_at)}"
            if code:
                reason = f"circuit open: {job.model}" if code == "circuit_open" else f"{code}{_refused(job)}, {reason}"
            if code == "key_limit":
                allowed = job.key_tasks or settings.key_tasks or settings.max_concurrent_tasks
                return f"API key limit of {allowed} jobs at once", None
            return reason, Wait(fixed=max(0, due_at - now))
        case JobState.QUEUED:
            return _queued(job, outlook, settings, now)
        case JobState.SUBMITTING if settles_at := _settles_at(job, settings, now):
            return f"outcome of the submission unknown, settles at {iso(settles_at)}", None
        case _:
            return None, None


def _settles_at(job: JobRecord, settings: Settings, now: int) -> int | None:
    """Returns when an unknown outcome will be known, in ms; None if the submission is under way.

    That is when two lists will not have had its prediction. Without lists it is the end of its adoption window.
    """
    lease_until = (job.submitted_at or now) + round(settings.lease * 1000)
    if not job.is_lost and now < lease_until:
        return None
    gap = round(LIST_GAP * settings.timing_scale * 1000)
    first_look = (job.overdue_at or lease_until) if job.is_lost else lease_until
    second_look = job.missed_at + gap if job.missed_at else first_look + gap
    has_list = REGISTRY[NUMBERS[provider_in(job.lane)]].has_list
    return second_look if has_list and second_look > now else job.adopt_until


def _queue_of(job: JobRecord, settings: Settings) -> Queue | None:
    number = job.lane // MAX_PROVIDERS
    return settings.queue_list[number] if number < len(settings.queue_list) else None


def _in_backlog(job: JobRecord, outlook: Outlook, settings: Settings, now: int) -> Wait | None:
    """Returns the time until a job in its user's backlog starts; None if an operator has paused it.

    All jobs with a seat share the slots. So from its seat to its end, each takes as many turns as there are times more
    of them than slots. In such a time, as many jobs leave the backlog as the user has seats.
    """
    queue = _queue_of(job, settings)
    bounds = queue and Bounds.of(settings, queue, provider_in(job.lane), outlook.gates)
    if not bounds or bounds.narrowest == 0:
        return None
    at_provider = (outlook.of_provider or 0) + (outlook.at_provider or 0)
    seated = (outlook.slots or 0) + (outlook.in_all or 0)
    cycle = max(1.0, seated / bounds.system, (outlook.of_queue or 0) / bounds.queue, at_provider / bounds.provider)
    cycles = (outlook.position or 1) / (outlook.cap or 1)
    submissions = max(outlook.at_provider or 0, cycles * at_provider)
    return Wait(turns=(cycles + 1) * cycle - 1, rate=bounds.allowed_in(submissions + 1, now))


def _queued(job: JobRecord, outlook: Outlook, settings: Settings, now: int) -> tuple[str | None, Wait | None]:
    provider, queue = provider_in(job.lane), _queue_of(job, settings)
    if queue is None:
        return "the queue is no longer configured", None
    bounds = Bounds.of(settings, queue, provider, outlook.gates)
    paused = [
        name
        for name, most in ((f"queue {queue.name}", bounds.queue), (f"provider {provider}", bounds.provider))
        if most == 0
    ]
    if bounds.narrowest == 0:
        return f"{paused[0] if paused else 'the system'} is paused", None
    position, number = outlook.position or 1, NUMBERS[provider]
    rate = bounds.allowed_in(outlook.at_provider or position, now)
    wait = Wait(turns=bounds.turns_until(outlook, position), rate=rate)
    held_until = outlook.gates.get(f"~p{number}", 0)
    open_until = outlook.gates.get(f"~o{number}:{run_of(job.model)}", 0)
    if held_until > now:
        return f"provider {provider} paused until {iso(held_until)}{_refused(job)}", replace(
            wait, fixed=held_until - now
        )
    if open_until > now:
        return f"circuit open: {job.model}", replace(wait, fixed=open_until - now)
    return _full(queue, provider, outlook, bounds, settings, now), wait


def awaits_an_end(job: JobRecord, outlook: Outlook, settings: Settings) -> bool:
    """Whether a waiting job can start only once another one has ended, or an operator allows more."""
    if job.state is JobState.BACKLOG:
        return outlook.cap is not None and (outlook.seats or 0) >= outlook.cap
    if job.state is not JobState.QUEUED or (queue := _queue_of(job, settings)) is None:
        return False
    bounds = Bounds.of(settings, queue, provider_in(job.lane), outlook.gates)
    return (
        (outlook.slots or 0) >= bounds.system
        or (outlook.of_queue or 0) >= bounds.queue
        or (outlook.of_provider or 0) >= bounds.provider
    )


def _refused(job: JobRecord) -> str:
    """Returns how often the provider has refused this very job; '' if it has not."""
    match job.refusals:
        case 0:
            return ""
        case 1:
            return ", refused once"
        case times:
            return f", refused {times} times"


def _full(queue: Queue, provider: str, outlook: Outlook, bounds: Bounds, settings: Settings, now: int) -> str | None:
    """Returns which limit is reached; None if the job only waits for its claim."""
    for name, taken, most in (
        ("system", outlook.slots, bounds.system),
        (f"queue {queue.name}", outlook.of_queue, bounds.queue),
        (f"provider {provider}", outlook.of_provider, bounds.provider),
    ):
        if taken is not None and taken >= most:
            return f"{name} {taken} of {most}"
    if bounds.allowed_in(1, now) > 0:
        return f"provider {provider} takes {PER_MINUTE / bounds.interval:g} a minute"
    return None
