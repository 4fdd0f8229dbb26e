"""How long it may take until nothing is left to be done: what liveness is measured by."""

import math

from shared.config.settings import Settings
from shared.hooks.delivery import LADDER
from shared.outbox.storing import FIRST_RETRY, LAST_RETRY

FAULTS = 2  # of one plan at most
THROTTLES, MAX_THROTTLE = 3, 12.5  # how often the provider throttles in a scenario, and for how many s
MAX_RUN = 200.0  # s; of a prediction that ends by itself
MAX_LANE_PAUSE = 1350.0  # s; a quarter of an hour, and half as much for jitter; see outbox_note.lua


def ticks_until_quiet(s: Settings, jobs: int, width: int = 0, troubles: int = 0, refusals: int = 0) -> int:
    """How many ticks after the last fault every job must have ended.

    In turns of as many jobs as the system and a user's backlog let pass at once (``width``, where the least of these is
    lowered on the way), each may have to sit out one adoption window (lease + cancel_after + adoption_margin, noticed
    up to a check_interval later), to run each of its attempts (the first check or the run itself, then a check) and to
    wait between them (retry delay x 2^n, half as much again for jitter); each of these ends at a tick, so each is
    rounded up and takes one more. All of them may wait for each attempt's failure to open the circuit, for longer each
    time, and for each probe of a circuit or of a paused provider to have been lost for a lease.

    Then the files: each turn at them may have been lost for a lease, and is tried again after a delay that doubles up
    to LAST_RETRY; each of the ``troubles`` that sources and storage are in for makes one more turn, and so does each
    fault. And the telling, which begins when the files are stored: each of the ``refusals`` is a step of the ladder,
    with its jitter, or the pause that its host is left alone for, if that is longer; each may also have been lost for
    a lease, one more is with each fault, and a host that fails is tried with one row after the other, from one tick to
    the next.
    """

    def ticks(seconds: float) -> int:
        return math.ceil(seconds / s.tick_period) + 1

    attempts = 1 + s.queue_max_retries
    window = ticks(s.lease + s.cancel_after + s.adoption_margin + s.check_interval)
    runs = attempts * ticks(max(s.first_check_after, MAX_RUN) + s.check_interval)
    waits = sum(ticks(1.5 * s.queue_retry_delay / 1000 * 2**n) for n in range(s.queue_max_retries))
    openings = max(0, jobs * attempts - s.circuit_failures + 1) if s.circuit_failures else 0
    gates = sum(ticks(s.circuit_pause * 2 ** min(n, 4)) + ticks(s.lease) for n in range(openings))
    gates += THROTTLES * (ticks(MAX_THROTTLE) + ticks(s.lease))
    width = width or min(s.max_concurrent_tasks, s.max_user_tasks)
    turns = troubles + FAULTS + 1
    storing = sum(ticks(s.lease + min(LAST_RETRY, FIRST_RETRY * 2**n)) for n in range(turns)) if s.storage_url else 0
    steps = [*LADDER[1 : refusals + 1], *([0.0] * FAULTS)]
    pauses = [min(MAX_LANE_PAUSE, 7.5 * 2**n) if refusals else 0.0 for n in range(len(steps))]
    telling = sum(ticks(max(1.1 * step, pause) + s.lease) for step, pause in zip(steps, pauses, strict=True))
    return math.ceil(jobs / width) * (window + runs + waits) + gates + storing + telling + 2 * jobs
