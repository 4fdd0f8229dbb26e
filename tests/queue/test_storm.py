"""A minute of 5xx stays a minute: all slots are in use again within four minutes of its end."""

from datetime import UTC, datetime

import pytest

from shared.budget import Budget
from shared.clock import ManualClock
from shared.jobqueue.state import JobState
from shared.json_value import Json
from shared.providers.base import Accepted, Found, Prediction, Submission, SubmissionOutcome, Unknown, Wanted
from shared.providers.replicate_list import Search
from tests.world import ObedientProvider, World, make_world

STORM, LIMIT, RUN = 60, 240, 20  # s
JOBS = 25


class StormyProvider(ObedientProvider):
    """Answers each create of the storm with 503, and makes the predictions of the first ones all the same."""

    def __init__(self, clock: ManualClock, made_in_storm: int) -> None:
        super().__init__()
        self._clock = clock
        self._ends_at = clock.true_now + STORM * 1000
        self._made_in_storm = made_in_storm
        self._listed: list[Json] = []
        self.paid: list[str] = []  # jobs, once for each prediction
        self.running: list[tuple[int, Submission, str]] = []  # when each run ends

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        is_storm = self._clock.true_now < self._ends_at
        if is_storm and len(self._listed) >= self._made_in_storm:
            return Unknown("status 503")
        name = f"p{len(self._listed) + 1}"
        created_at = datetime.fromtimestamp(self._clock.true_now / 1000, UTC).isoformat()
        shown: Json = {"id": name, "model": submission.model, "input": dict(submission.input), "created_at": created_at}
        self._listed.append(shown)
        self.states[name] = Prediction(name, "running")
        self.paid.append(submission.job_id)
        self.running.append((self._clock.true_now + RUN * 1000, submission, name))
        return Unknown("status 503") if is_storm else Accepted(self.states[name])

    async def find(self, wanted: Wanted, timeout: float) -> Found:
        self.looked_for.append(wanted)
        search = Search(wanted)
        for entry in self._listed:
            search.judge(entry)
        return search.found


async def deliver(world: World, provider: StormyProvider, clock: ManualClock) -> None:
    """Ends the runs that are over, each with its webhook."""
    over = [run for run in provider.running if run[0] <= clock.true_now]
    provider.running = [run for run in provider.running if run[0] > clock.true_now]
    for _, submission, name in over:
        said = provider.states[name] = Prediction(name, "completed", output="x")
        record = await world.runtime.records.read(submission.job_id)
        ended = await world.runtime.reconciler.apply(
            submission.job_id, submission.attempt, "replicate", said, incarnation=record.incarnation
        )
        if ended.makes_room:
            await world.runtime.dispatcher.run(Budget(60))


async def running(world: World) -> int:
    states = [(await world.runtime.records.read(f"job_{n}")).state for n in range(world.submitted)]
    return states.count(JobState.RUNNING)


async def recovers_after(world: World, provider: StormyProvider, clock: ManualClock) -> int | None:
    """Returns how many s after the storm all slots run, with a tick each minute and other calls in the storm only."""
    for second in range(0, STORM + LIMIT + 60, 5):
        await deliver(world, provider, clock)
        if second % 60 == 0:
            await world.runtime.tick.run()
        elif second < STORM:
            await world.runtime.dispatcher.run(Budget(60))
        if second >= STORM and await running(world) == world.runtime.settings.max_concurrent_tasks:
            return second - STORM
        clock.advance(5)
    return None


@pytest.mark.parametrize("made_in_storm", [0, 2])
@pytest.mark.parametrize("models", [1, 5])
async def test_after_a_storm_of_5xx_all_slots_are_in_use_again_within_four_minutes(
    made_in_storm: int, models: int
) -> None:
    clock = ManualClock()
    provider = StormyProvider(clock, made_in_storm)
    async with make_world(None, clock, {"replicate": provider}) as world:
        for n in range(JOBS):
            await world.enqueue(f"user{n}", model=f"acme/video{n % models}", input={"prompt": f"number {n}"})
        seconds = await recovers_after(world, provider, clock)
    assert seconds is not None and seconds <= LIMIT
    assert len(provider.looked_for) >= 5
    assert len(provider.paid) == len(set(provider.paid)), "paid twice, though the list tells the truth"
