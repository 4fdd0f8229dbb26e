"""Judges what pollers saw: no answer is another job's, and none is older than a view may be.

A process keeps a view for STATUS_CACHE_TTL from the start of its load, and a poll may join a load that another poll of
the job has begun. So the sightings themselves say from when on a poll must have looked:

    other poll    |------ load ------|                 looked_at = the first of
    this poll             |----------|                 its sending - STATUS_CACHE_TTL,
                  ^ looked_at                          and the sending of each poll that was under way then
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from shared.jobs.pace import MAX_PAUSE_FAR_BACK
from tests.soak.deployment import TIMES
from tests.soak.evidence import Evidence
from tests.soak.nemesis import FROZEN
from tests.soak.sightings import Sighting
from tests.soak.waits import Waits

TTL = TIMES["STATUS_CACHE_TTL"]
MAX_PAUSE = math.ceil(max(TTL, MAX_PAUSE_FAR_BACK * TIMES["TIMING_SCALE"]))
# s from `ended_at` until the end stands in the store: its function may be frozen in between, and its call repeated.
WRITTEN_WITHIN = FROZEN[1] + TIMES["STORE_TOTAL_TIMEOUT"] + 1.0


@dataclass
class Watched:
    """What the pollers saw as a whole."""

    objections: list[str] = field(default_factory=list)
    polls: int = 0
    not_modified: int = 0
    refused: int = 0
    lost: int = 0
    jobs: int = 0
    delays: Waits = field(
        default_factory=lambda: Waits(())
    )  # from each end to its sight, by each poller that awaited it


def judge_polls(sightings: Sequence[Sighting], evidence: Evidence, healed_at: float) -> Watched:
    """Judges all polls of the run. ``healed_at``: when the last fault was over, in s of the monotonic clock."""
    by_job: dict[str, list[Sighting]] = defaultdict(list)
    for each in sorted(sightings, key=lambda each: each.sent):
        by_job[each.job].append(each)
    codes = Counter(each.code for each in sightings)
    watched = Watched(
        polls=len(sightings), not_modified=codes[304], refused=codes[503], lost=codes[0],
        jobs=len(by_job),
    )  # fmt: skip
    delays: list[float] = []
    epoch = time.time() - time.monotonic()
    for job, polls in by_job.items():
        ended_at = _ended_at(evidence.jobs.get(job, {}), epoch)
        watched.objections += (f"a poll of {job}: {why}" for why in faults_of(polls, ended_at, healed_at))
        watched.objections += (f"a poll of {job}: {why}" for why in _false_ends(polls, evidence.jobs.get(job, {})))
        if ended_at is not None:
            waiting = {each.poller for each in polls if each.sent < ended_at}
            seen = {each.poller: each.answered for each in reversed(polls) if each.is_end}
            delays += (seen[poller] - ended_at for poller in waiting & seen.keys())
    watched.delays = Waits(tuple(sorted(delays)))
    return watched


def _ended_at(fields: dict[str, str], epoch: float) -> float | None:
    text = fields.get("ended_at", "")
    return int(text) / 1000 - epoch if text else None


def _false_ends(polls: Iterable[Sighting], fields: dict[str, str]) -> Iterator[str]:
    for status in {each.status for each in polls if each.is_end} - {fields.get("outcome", "")}:
        yield f"it showed the end {status}, and the store has {fields.get('outcome')!r}"
    if len({repr(each.output) for each in polls if each.is_end}) > 1:
        yield "its polls showed different outputs"


def faults_of(polls: Sequence[Sighting], ended_at: float | None, healed_at: float) -> Iterator[str]:
    """Yields what is wrong with the polls of one job, which are in order of sending.

    ``ended_at``: when its end was made, None if it is not over.
    """
    shown = sorted((each for each in polls if each.is_answered), key=lambda each: each.answered)
    for each, looked_at in looks(polls):
        if each.fault:
            yield each.fault
        if each.code >= 500 and looked_at > healed_at:
            yield f"{each.code} {looked_at - healed_at:.1f} s after the last fault"
        if not each.is_answered:
            continue
        if each.pause > MAX_PAUSE:
            yield f"Retry-After was {each.pause:.0f} s"
        before = max((other.progress for other in shown if other.answered <= looked_at), default=each.progress)
        if each.progress < before:
            yield f"{each.poller} saw {each.progress}, when {before} had been seen"
        if not each.is_end and ended_at is not None and looked_at > ended_at + WRITTEN_WITHIN:
            yield f"{each.poller} saw {each.status} {looked_at - ended_at:.1f} s after its end"


def looks(polls: Iterable[Sighting]) -> Iterator[tuple[Sighting, float]]:
    """Yields each poll of one job with the time from which on its answer must have been read, in order of sending."""
    under_way: list[Sighting] = []
    for each in polls:
        under_way = [other for other in under_way if other.answered >= each.sent]
        yield each, min((each.sent - TTL, *(other.sent for other in under_way)))
        under_way.append(each)
