"""What it costs to watch one job as ``Retry-After`` asks, in one process: ``python -m bench.watching``.

``watch`` derives it from shared/jobs/pace.py. The command counts it at the store, whose clock it moves by hand: until
the webhook of the run, or the start of a job that waits. tests/queue/test_watching.py compares the two.
"""

import argparse
import asyncio
import sys
from dataclasses import dataclass

import httpx

from bench import report
from bench.driving import Deployment, entered_store, own_loop
from bench.handlers import unprinted
from shared import runtime
from shared.clock import ManualClock
from shared.config.settings import Settings
from shared.jobqueue import Outlook
from shared.jobqueue.keys import Keys
from shared.jobqueue.record import JobRecord
from shared.jobs.pace import pause_of, question_gap

MODEL = "0:acme/video"  # with its provider's number
# What is watched, for how many s, and how many commands and questions to the provider that may take at most.
GOALS: tuple[tuple[str, int, int, int | None], ...] = (
    ("run", 120, 60, 5),
    ("run", 300, 100, 8),
    ("wait", 300, 60, None),
)
BEGAN = 1_800_000_000_000


@dataclass(frozen=True)
class Watched:
    """How many polls there were, how many reached the store, and how many of these asked the provider."""

    polls: int
    reached: int
    questions: int


def watch(settings: Settings, seconds: float, every: float | None = None, *, is_known: bool = True) -> Watched:
    """Polls a run of so many s each ``every`` s, or as ``Retry-After`` asks; ``is_known``: its model has such runs."""
    usual = round(seconds * 1000) if is_known else 0
    outlook, at, checked_at, good_until = Outlook(p50=usual, p90=usual), 0.0, 0.0, -1.0
    polls = reached = questions = 0
    while True:
        polls, now = polls + 1, BEGAN + round(at * 1000)
        fields = {"state": "running", "submitted_at": str(BEGAN)}
        if checked_at:
            fields["checked_at"] = str(BEGAN + round(checked_at * 1000))
        job = JobRecord("job", fields)
        if at >= good_until:
            reached, good_until = reached + 1, at + settings.status_cache_ttl
            gap = question_gap(job, outlook, settings, now, is_reported=True)
            if settings.first_check_after <= at < seconds and at >= checked_at + gap:
                questions, checked_at = questions + 1, at
            if at >= seconds:
                return Watched(polls, reached, questions)
        at += every or -(-pause_of(job, outlook, settings, now, is_reported=True) // 1)


@dataclass(frozen=True)
class Counted:
    """What the polls of one job took, as the store's server and the provider counted."""

    polls: int
    commands: int
    questions: int


class Poller:
    """Polls one job of its own deployment as ``Retry-After`` asks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str, settings: Settings) -> None:
        assert settings.upstash_redis_rest_token is not None
        token = settings.upstash_redis_rest_token.get_secret_value()
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"})
        self._settings = settings
        self._clock = ManualClock()
        self._deployment = Deployment(loop, settings, self._clock)

    def count(self, what: str, seconds: int, *, is_known: bool) -> Counted:
        """Polls a run to its end, or a job that waits for such runs to its start, and returns what that took."""
        with self._client, self._deployment as deployment:
            if is_known:
                self._client.post("/", json=["HSET", Keys(self._settings.prefix).models + MODEL, "r", seconds * 1000])
            for _ in range(self._settings.max_concurrent_tasks if what == "wait" else 0):
                deployment.call(deployment.submission())
            job = deployment.call(deployment.submission())["id"]
            return self._poll(job, seconds)

    def _poll(self, job: str, seconds: int) -> Counted:
        provider, at, polls, commands = self._deployment.provider, 0, 0, 0
        asked = provider.asked
        while True:
            before = self._billed()
            answer = self._deployment.answer(self._deployment.poll(job))
            polls, commands = polls + 1, commands + self._billed() - before
            if at >= seconds:
                return Counted(polls, commands, provider.asked - asked)
            pause = int(answer["headers"]["retry-after"])
            if at < seconds <= at + pause:
                self._clock.advance(seconds - at)
                self._deployment.call(self._deployment.webhook(0))
                self._clock.advance(at + pause - seconds)
            else:
                self._clock.advance(pause)
            at += pause

    def _billed(self) -> int:
        return int(self._client.get("/-/bill").json()["billed"])


def main() -> int:
    """Counts and prints; returns 1 if a goal is missed for a model whose runs are known."""
    parser = argparse.ArgumentParser(prog="python -m bench.watching", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a goal is missed")
    options = parser.parse_args()
    rows, is_met = [], True
    with entered_store() as url, own_loop() as loop, unprinted():
        for number, (what, seconds, commands, questions) in enumerate(GOALS):
            for is_known in (True, False):
                prefix = f"watch{number}{'known' if is_known else 'new'}"
                settings = runtime.settings().model_copy(update={"queue_prefix": prefix})
                took = Poller(loop, url, settings).count(what, seconds, is_known=is_known)
                is_met &= not is_known or (
                    took.commands <= commands and (questions is None or took.questions <= questions)
                )
                name = f"{what} of {seconds} s, {'a known' if is_known else 'a new'} model"
                verdicts = report.verdict(took.commands, commands), report.verdict(took.questions, questions)
                rows.append([name, str(took.polls), str(took.commands), verdicts[0], str(took.questions), verdicts[1]])
    print("A poller that does what Retry-After asks, until it sees the webhook's end, or the start of its job.\n")
    report.print_table(["watched", "polls", "commands", "goal", "questions to the provider", "goal"], rows)
    return 0 if is_met or options.no_targets else 1


if __name__ == "__main__":
    sys.exit(main())
