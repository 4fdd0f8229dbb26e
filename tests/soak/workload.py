"""What the users intend to do, derived from the seed alone."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.signing.derived import batch_id_for, job_id_for
from tests.soak.deployment import FLOODER, OWNER, SIGNING_SECRET, USERS, users
from tests.soak.modes import LOST, MODES, Mode

MODEL = "acme/text-to-video"
BURST_EVERY = 15.0  # s
BURST_SHARE = 0.35  # share of jobs that come in bursts; without bursts no limit is reached
# The second of this many works repeats the first under its own key: one user wants the same thing twice. Then the
# provider's list cannot distinguish the two submissions.
TWINS_EVERY = 25


@dataclass(frozen=True)
class Work:
    """One job that a user wants, and how they go about it. Times are in s."""

    number: int
    at: float
    user: str
    queue: str
    mode: Mode
    prompt: str
    key: str
    body: dict[str, Any]
    patience: float | None  # timeout of the first submit; None: waits for its answer
    is_doubled: bool  # submits twice at the same time, like a double click
    gives_up: bool  # does not repeat a submit whose answer is lost
    is_watched: bool  # polls; a job that is not polled is moved by ticks alone
    poll_every: float
    cancel_after: float | None
    is_guilty: bool = False
    place: int | None = None  # in the batch of this key; None: a job of its own

    @property
    def job_id(self) -> str:
        """The job id that follows from the key, with or without an answer."""
        if self.place is not None:
            return f"{batch_id_for(SIGNING_SECRET, FLOODER, self.key)}_{self.place}"
        return job_id_for(SIGNING_SECRET, OWNER, self.key)


def workload(seed: int, seconds: float, jobs_per_second: float) -> Iterator[Work]:
    """Yields all submissions in order of time: a steady stream and bursts."""
    chance = random.Random(f"{seed}/arrivals")
    moments = []
    at = 0.0
    while (at := at + chance.expovariate(jobs_per_second * (1 - BURST_SHARE))) < seconds:
        moments.append(at)
    burst = BURST_EVERY / 2
    while burst < seconds:
        size = round(jobs_per_second * BURST_SHARE * BURST_EVERY)
        moments += [burst + chance.uniform(0, 0.5) for _ in range(size)]
        burst += BURST_EVERY
    for number, moment in enumerate(sorted(moments)):
        yield _work(seed, number, moment)


def _work(seed: int, number: int, at: float) -> Work:
    chance = random.Random(f"{seed}/{number}")
    is_twin = number % TWINS_EVERY == 1
    mode, prompt, body = _wish(seed, number - 1 if is_twin else number)
    return Work(
        number=number, at=at, user=body["user_id"], queue=body["queue"], mode=mode, prompt=prompt,
        key=f"key-{seed}-{number}", body=body,
        patience=chance.choice((0.003, 0.01, 0.03, 0.1)) if chance.random() < 0.06 else None,
        is_doubled=chance.random() < 0.03,
        gives_up=chance.random() < 0.2,
        is_watched=chance.random() < 0.7,
        poll_every=chance.uniform(0.7, 2.5),
        cancel_after=chance.choice((0.0, 0.1, 0.5, 1.5)) if chance.random() < 0.06 else None,
    )  # fmt: skip


def _wish(seed: int, number: int) -> tuple[Mode, str, dict[str, Any]]:
    """Returns mode, prompt and body; twins get the same."""
    chance = random.Random(f"{seed}/{number}/wish")
    # Some users submit much more than others, so that their limit is reached too.
    user, queue = users()[int(USERS * chance.random() ** 1.5)], chance.choice(("video", "video", "storyboard"))
    has_twin = number % TWINS_EVERY == 0
    modes = LOST if has_twin and chance.random() < 0.5 else MODES
    mode = chance.choices(modes, [mode.weight for mode in modes])[0]
    prompt = f"work {number} of {seed}"
    simulate = {
        "seconds": round(chance.uniform(0.1, 1.2), 2),
        "start_delay": round(chance.uniform(0.0, 0.3), 2),
        "output": "text",
        "group": [f"user:{user}", f"queue:{queue}"],
        **mode.simulate,
    }
    if has_twin and "create_times" in simulate:
        simulate["create_times"] = 2  # the simulator counts creates by prompt
    body = {
        "model": MODEL,
        "input": {"prompt": prompt, "simulate": simulate},
        "user_id": user,
        "queue": queue,
        "priority": chance.randint(1, 5),
        "tier": chance.choice(("free", "premium", "pro")),
        "metadata": {"work": str(number)},
    }
    return mode, prompt, body
