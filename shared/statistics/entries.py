"""What an entry of the stream adds to the sums. entries.lua writes those of jobs, and a Tally those of processes."""

from collections.abc import Callable

from shared.sums import Sums
from shared.tally import Part

OF_JOBS, OF_PROCESS = "e", "p"  # the names of an entry's fields
SeriesOf = Callable[[int, str, bool, int], str]  # of a lane, a model, whether it completed, and when (ms)


def read_jobs(text: str, series_of: SeriesOf) -> Part:
    """Returns what a text about jobs adds. Raises ValueError or LookupError if its form is not that of entries.lua."""
    kind, at, lane, rest = text.split("|", 3)
    moment, sums = int(at), Sums()
    if kind == "admitted":
        count, model = rest.split("|", 1)
        sums.count(series_of(int(lane), model, False, moment), "accepted", int(count))
    elif kind == "ended":
        _count_end(sums, moment, int(lane), rest, series_of)
    else:
        raise ValueError("an entry of a kind that this release does not know")
    return Part(moment, sums)


def _count_end(sums: Sums, at: int, lane: int, text: str, series_of: SeriesOf) -> None:
    """Counts a job's end. The wait is that of jobs with one submission: a retry's wait is also the run before it."""
    outcome, code, created_at, submitted_at, attempts, snoozes, rescues, model = text.split("|", 7)
    series = series_of(lane, model, outcome == "completed", at)
    sums.count(series, f"failed.{code or 'unknown'}" if outcome == "failed" else outcome)
    for name, number in (("started", attempts), ("put_off", snoozes), ("given_up", rescues)):
        if int(number):
            sums.count(series, name, int(number))
    if submitted_at and int(attempts) - int(snoozes) == 1:
        sums.time(series, "wait", int(submitted_at) - int(created_at))
    if submitted_at and outcome == "completed":
        sums.time(series, "run", at - int(submitted_at))
