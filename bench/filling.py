"""Fills the store with a million waiting jobs, by raw commands that write exactly what enqueue.lua would.

Only for a policy other than fair, where a score depends on the submit's time alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import redis

from shared.config.settings import Settings
from shared.jobqueue.constants import ALARMS, BACKLOG, BAND, HISTORY, MAX_GATES, READY, SEATED, WAITING_SHARES
from shared.jobqueue.keys import Keys
from shared.jobs.request import SubmitRequest
from shared.signing.shares import share_of

CHUNK = 900  # jobs of one pipeline
OWNER, TOKEN = "app", "0123456789abcdef"


def job_id(number: int) -> str:
    """Returns an id as long as real ones."""
    return f"job_{number:032x}"


@dataclass(frozen=True)
class Filler:
    """Writes jobs of the queue `video`, submitted 1 ms apart from ``began`` on. Only the first ``hashes`` jobs of a
    fill get a hash: those that can be claimed before the bench is over."""

    client: redis.Redis
    settings: Settings
    began: int
    hashes: int

    @cached_property
    def keys(self) -> Keys:
        return Keys(self.settings.prefix)

    @cached_property
    def score(self) -> int:
        """The score of job 0; a later job's is higher by the difference of their times."""
        return self.request("user0").score_and_cost(self.settings, self.began)[0]

    def ready(self, count: int, first: int = 0) -> None:
        """Adds ready jobs, numbered from ``first`` on, of users who each have as many as the limit admits."""
        self._fill(Line(range(first, first + count), self.settings.max_user_tasks))

    def backlog(self, user: str, count: int, first: int) -> None:
        """Adds jobs of one user beyond the limit; those within the limit must be in the store."""
        self._fill(Line(range(first, first + count), count, user))

    def request(self, user: str) -> SubmitRequest:
        """Returns the request of every job."""
        return SubmitRequest(model="acme/video", input={"prompt": "a lighthouse"}, user_id=user)

    def _fill(self, line: "Line") -> None:
        before, numbers = self._before_alarms(), iter(line.numbers)
        while chunk := list(islice(numbers, CHUNK)):
            pipe = self.client.pipeline(transaction=False)
            pipe.execute_command("ZADD", self.keys.index, *self._moves(line, chunk))  # type: ignore[no-untyped-call]
            for user, members in self._members(line, chunk).items():
                pipe.execute_command("ZADD", self.keys.user(OWNER, user), *members)  # type: ignore[no-untyped-call]
            for number in chunk:
                place = number - line.numbers.start
                if place < self.hashes:
                    fields = self._fields(line, number, before + place)
                    pipe.execute_command("HSET", self.keys.job(job_id(number)), *fields)  # type: ignore[no-untyped-call]
            pipe.execute()

    def _before_alarms(self) -> int:
        """Returns how many members of the index come before the alarms: gates, slots and waiting jobs."""
        return int(self.client.execute_command("ZCOUNT", self.keys.index, "-inf", f"({ALARMS * BAND}"))  # type: ignore[no-untyped-call]

    def _moves(self, line: "Line", chunk: list[int]) -> Iterator[str | int]:
        """Yields scores and members of the index: the job, its alarm, its share, and its entry in the history."""
        band = READY if line.is_ready else BACKLOG  # the lane of `video` at the first provider is 0
        lifetime = round(self.settings.queue_list[0].ttl * 1000)
        for number in chunk:
            at, name = self.began + number, job_id(number)
            yield from (band * BAND + self.score + number, name, ALARMS * BAND + at + lifetime, f"!{name}")
            share = share_of(self.settings.signing_key, OWNER, line.user_of(number))
            yield from (ALARMS * BAND + WAITING_SHARES + share, f"%{name}")
            yield from (HISTORY * BAND + at, f"@{OWNER}:{line.user_of(number)}|{name}")

    def _members(self, line: "Line", chunk: list[int]) -> dict[str, list[str | int]]:
        """Returns scores and members of the users' sets."""
        members: dict[str, list[str | int]] = {}
        for number in chunk:
            score = self.score + number + (SEATED if line.is_ready else 0)
            members.setdefault(line.user_of(number), []).extend((score, job_id(number)))
        return members

    def _fields(self, line: "Line", number: int, before: int) -> list[str]:
        """Returns a job's hash; far from the head it also holds the durations of its model's runs."""
        s, now, request = self.settings, self.began + number, self.request(line.user_of(number))
        fields = {
            "state": "queued" if line.is_ready else "backlog",
            "token": TOKEN,
            "fingerprint": request.fingerprint(),
            "score": str(self.score + number),
            "heirs": "1" if s.user_queued > s.max_user_tasks or not line.is_ready else "0",
            "attempt": "0",
        }
        in_set = s.max_user_tasks + number - line.numbers.start
        is_far_back = not line.is_ready and in_set >= 2 * s.max_user_tasks + 4
        if is_far_back or before >= s.max_concurrent_tasks + 1 + MAX_GATES:
            fields |= {"p50": "0", "p90": "0"}
        fields |= request.fields(s, OWNER, s.queue_list[0], now)
        return [part for pair in fields.items() for part in pair]


@dataclass(frozen=True)
class Line:
    """Jobs by number: the backlog of ``user``, or ``per_user`` ready jobs of each user."""

    numbers: range
    per_user: int
    user: str = ""

    @property
    def is_ready(self) -> bool:
        return not self.user

    def user_of(self, number: int) -> str:
        return self.user or f"user{number // self.per_user}"
