"""Calls to providers, the gates that their answers close, and a provider that refuses some models."""

from dataclasses import dataclass, field

from shared.budget import Budget
from shared.jobqueue.constants import BAND, READY
from shared.providers.base import Submission, SubmissionOutcome, Throttled
from tests.world import ObedientProvider, World

FORBIDDEN = "acme/forbidden"
PAUSE = 60  # s, with jitter 75 at most


@dataclass
class ChoosyProvider(ObedientProvider):
    """Refuses all creates of some models or prompts; their answers are kept by these."""

    refuses: dict[str, Throttled] = field(default_factory=dict)

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        for name in (submission.model, str(submission.input.get("prompt"))):
            if name in self.refuses:
                self.created.append(submission)
                return self.refuses[name]
        return await super().create(submission, timeout)

    def sent(self, *models: str) -> int:
        """How many creates of these models were sent."""
        return sum(submission.model in models for submission in self.created)


async def state(world: World, job: str) -> str:
    return (await world.runtime.records.read(job)).state


async def run(world: World) -> None:
    await world.runtime.dispatcher.run(Budget(60))


async def started(world: World, want: int = 10) -> list[str]:
    return [job.id for job in (await world.runtime.queue.claim(want)).started]


async def gates(world: World) -> dict[str, int]:
    return (await world.runtime.records.stats()).gates


async def fail(world: World, job: str, code: str = "provider_down") -> None:
    record = await world.runtime.records.read(job)
    await world.runtime.queue.fail(job, record.attempt, record.prediction, code=code, detail="", retryable=False)


async def open_circuit(world: World, code: str = "provider_down") -> None:
    """Fails acme/video in a row until its circuit opens."""
    for n in range(world.runtime.settings.circuit_failures):
        job = await world.enqueue(f"unlucky{n}")
        (claimed,) = (await world.runtime.queue.claim(1)).started
        await world.runtime.queue.record(job, claimed.attempt, f"f{job}")
        await fail(world, job, code)


async def finish_all(world: World) -> None:
    """All that runs completes."""
    keys = world.runtime.queue.keys
    for job in await world.raw("ZRANGEBYSCORE", keys.index, "0", f"({READY * BAND}"):
        record = await world.runtime.records.read(job)
        if record.state == "running":
            await world.runtime.queue.finish(job, record.attempt, record.prediction, "completed", {})


async def ticks(world: World, minutes: int) -> None:
    """A tick in each minute, after which all that runs completes."""
    for _ in range(minutes):
        world.manual.advance(60)
        await world.runtime.tick.run()
        await finish_all(world)
