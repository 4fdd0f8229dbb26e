"""How often a look at a job is worth its price: its owner's at the status, and a poll's at the provider.

A young run may fail at once, and an old one may end at any time around the usual duration of its model. So a poller is
asked to come often at the beginning, rarely in between, and often again when the end is near:

    start                              soonest end     p50         late
      |-- 2 s, less and less often, 15 s, 2 s --|-- each 2 s --|-- each 2 s --|-- less and less often -->

p50 and p90 are those of the model's recent runs, in ms; 0 if none is known.
"""

from shared.config.settings import Settings
from shared.jobqueue import Outlook
from shared.jobqueue.record import JobRecord
from shared.jobqueue.state import JobState
from shared.jobs.explanation import awaits_an_end, waiting

MAX_PAUSE = 15.0  # s between two polls
MAX_PAUSE_FAR_BACK = 30.0  # the same for a job far back: behind more than one round of runs, or FAR_BACK
FAR_BACK = 120.0  # s until its start
EARLY_SHARE = 1 / 4  # of a run's age that may pass until the next poll, since it may fail at any time
LATE_SHARE = 1 / 12  # the same if only its age is known, or if it is late
WAITING_SHARE = 1 / 4  # of the time that a job has waited, if no estimate is known
ASKING_SHARE = 1 / 2  # of a run's age that must pass until its provider is asked again
PATIENCE = 1.25  # a run is late after this multiple of its model's usual duration


def pause_of(job: JobRecord, outlook: Outlook, settings: Settings, now: int, *, is_reported: bool) -> float:
    """Returns in how many s the job's owner should poll again.

    ``is_reported``: a webhook is going to bring the end of the run. Where a poll repairs the job, it is the least.
    """
    scale, most = 1000 * settings.timing_scale, MAX_PAUSE
    match job.state:
        case JobState.DONE:
            pause = (now - (job.ended_at or now)) * LATE_SHARE  # its files are being stored
        case JobState.DELAYED:
            pause = (job.due_at or now) - now
        case JobState.RUNNING if is_reported and not job.is_cancel_requested:
            pause = _pause_of_run(now - (job.submitted_at or now), outlook, settings)
        case JobState.QUEUED | JobState.BACKLOG:
            pause, most = _pause_of_wait(job, outlook, settings, now)
        case _:
            pause = 0.0
    return max(settings.status_cache_ttl, min(pause, most * scale) / 1000)


def question_gap(job: JobRecord, outlook: Outlook, settings: Settings, now: int, *, is_reported: bool) -> float:
    """Returns how many s must lie between two questions of polls about a run at its provider.

    If its end ``is_reported`` by a webhook, questions only bring its progress, or make up for a lost webhook.
    """
    least = settings.status_check_interval
    if not is_reported or job.is_cancel_requested:
        return least
    began = job.submitted_at or now
    gap = min(((job.checked_at or now) - began) / 1000 * ASKING_SHARE, 2 * settings.check_interval)
    late_by = (now - began - _late_after(outlook)) / 1000 if outlook.p50 else 0.0
    return max(least, min(gap, late_by * ASKING_SHARE) if late_by > 0 else gap)  # mutant: late run


def _pause_of_run(age: float, outlook: Outlook, settings: Settings) -> float:
    """Returns the ms until the next poll of a run of this age (ms)."""
    if not outlook.p50:
        return age * LATE_SHARE
    if age < (soonest := _soonest_end(outlook)):  # mutant: near its end
        return min((soonest - age) / 2, settings.status_cache_ttl * 1000 + age * EARLY_SHARE)
    return (age - _late_after(outlook)) * LATE_SHARE


def _pause_of_wait(job: JobRecord, outlook: Outlook, settings: Settings, now: int) -> tuple[float, float]:
    """Returns the ms until the next poll of a waiting job, and how many s they may be at most."""
    wait = waiting(job, outlook, settings, now)[1]
    if not awaits_an_end(job, outlook, settings):
        return wait.fixed if wait else 0.0, MAX_PAUSE  # once it may start, a poll starts it
    is_far_back = wait is None or wait.turns > 1 or wait.until_start(outlook.p50) >= FAR_BACK * 1000
    most = MAX_PAUSE_FAR_BACK if is_far_back else MAX_PAUSE  # mutant: far back
    if wait is None or not outlook.p50:
        return (now - job.created_at) * WAITING_SHARE, most
    # An estimate is right within a factor of two, so the start may come in half the time.
    return (wait.until_start(outlook.p50) / 2 + _soonest_end(outlook)) / 2, most


def _soonest_end(outlook: Outlook) -> float:
    """Returns the ms that most runs take at least: as far below p50 as p90 is above it."""
    return max(0.5 * outlook.p50, min(0.9 * outlook.p50, 2 * outlook.p50 - outlook.p90))


def _late_after(outlook: Outlook) -> float:
    """Returns the age in ms after which a run is late: it takes longer than most, or its end is not known yet."""
    return max(outlook.p90, PATIENCE * outlook.p50)
