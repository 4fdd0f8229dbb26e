"""How many ticks may pass until all work is done: the bound of liveness."""

import math

from shared.config.settings import Settings
from shared.hooks.delivery import LADDER
from shared.outbox.storing import FIRST_RETRY, LAST_RETRY

FAULTS = 2  # maximum of one plan
THROTTLES, MAX_THROTTLE = 3, 12.5  # how often the provider throttles in a scenario, and s of each
MAX_RUN = 200.0  # s; of a prediction that ends without its deadline
MAX_LANE_PAUSE = 1350.0  # s; a quarter of an hour, and half as much for jitter; see outbox_note.lua


def ticks_until_quiet(s: Settings, jobs: int, width: int = 0, troubles: int = 0, refusals: int = 0) -> int:
    """Returns the number of ticks after the last fault within which every job must end.

    Jobs take turns. A turn has as many jobs as the system and a user's backlog let run at once (``width`` if a
    limit is lowered during the run). Each step below ends at a tick, so it is rounded up and takes one tick more:

    * one adoption window: lease + cancel_after + adoption_margin, noticed up to a check_interval later;
    * each attempt: the first check or the run itself, then a check;
    * each wait between attempts: retry delay x 2^n, and half as much for jitter.

    Each attempt's failure may open the circuit, for longer each time. Each probe of a circuit or of a paused provider
    may have been lost for a lease.

    Then files are stored. Each turn may have been lost for a lease. A retry's delay doubles up to LAST_RETRY. Each of
    the ``troubles`` of sources and storage causes one more turn, and so does each fault.

    Then events are delivered. Each of the ``refusals`` costs a step of the ladder with its jitter, or the pause of its
    host if that is longer. Each may have been lost for a lease, and each fault adds one. A failing host is
    tried with one row after the other, from tick to tick.
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
    deliveries = sum(ticks(max(1.1 * step, pause) + s.lease) for step, pause in zip(steps, pauses, strict=True))
    return math.ceil(jobs / width) * (window + runs + waits) + gates + storing + deliveries + 2 * jobs
