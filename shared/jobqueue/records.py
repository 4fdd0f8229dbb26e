"""What the queue can tell: jobs, statistics, and the walk that looks for what was lost."""

from collections.abc import Sequence
from datetime import timedelta

from shared.errors import JobNotFound
from shared.frozen import dataclass
from shared.jobqueue.reads import Counted, Explained, Facts, KeyCounts, Outlook, QueueCounts, Stats
from shared.jobqueue.record import READ_FIELDS, JobRecord
from shared.jobqueue.replies import Forgotten
from shared.jobqueue.scripted import Scripted

WALK_FIELDS = ("swept_at", "sweep_cursor")  # of the statistics' hash
NO_COUNTERS = (*WALK_FIELDS, "limits_mark", "webhook_refused_at")
RUNS_KEPT_FOR = timedelta(days=30)  # after the last run of a model


@dataclass(frozen=True)
class Walked:
    """What a step of the walk has met: keys of users, names of lanes, and models with their providers."""

    users: tuple[str, ...]
    lanes: tuple[str, ...]
    models: tuple[str, ...]


class Records(Scripted):
    """Reads, and changes nothing but the walk's own cursor."""

    async def read(self, job_id: str) -> JobRecord:
        """The job as it is now, without its input; one command. Raises JobNotFound."""
        return self._job(job_id, await self._store.execute("HMGET", self.keys.job(job_id), *READ_FIELDS))

    async def explain(self, job_id: str) -> tuple[JobRecord, Outlook]:
        """The job, and what its owner may want to know while it waits or runs. Raises JobNotFound."""
        job = self.keys.job(job_id)
        explained = await self._run("explain", Explained, job=job, id=job_id, names=READ_FIELDS)
        return self._job(job_id, explained.values), explained.outlook or Outlook()

    @staticmethod
    def _job(job_id: str, values: Sequence[str | None]) -> JobRecord:
        fields = {name: value for name, value in zip(READ_FIELDS, values, strict=True) if value is not None}
        if "state" not in fields:
            raise JobNotFound
        return JobRecord(job_id, fields)

    async def request_of(self, job_id: str) -> tuple[str, str]:
        """The job's model and its input as JSON text; empty if the job is lost."""
        model, given = await self._store.execute("HMGET", self.keys.job(job_id), "model", "input")
        return model or "", given or ""

    async def last_sweep(self) -> tuple[int, str]:
        """Returns when any process walked last (ms; 0 for never), and where its walk stopped."""
        at, cursor = await self._store.execute("HMGET", self.keys.stats, *WALK_FIELDS)
        return int(at or 0), cursor or "0"

    async def walk(self, count: int, cursor: str | None = None) -> Walked:
        """Walks past ``count`` keys of the store from where the last walk stopped."""
        cursor = cursor or (await self.last_sweep())[1]
        following, found = await self._store.execute("SCAN", cursor, "MATCH", self.keys.swept, "COUNT", str(count))
        at, place = WALK_FIELDS
        noted = (at, str(self._clock.now()), place, str(following))
        await self._store.execute("HSET", self.keys.stats, *noted)

        def names_behind(beginning: str) -> tuple[str, ...]:
            return tuple(key.removeprefix(beginning) for key in found if key.startswith(beginning))

        users = tuple(key for key in found if key.startswith(self.keys.users))
        return Walked(users, names_behind(self.keys.lanes), names_behind(self.keys.models))

    async def forget_runs(self, models: Sequence[str]) -> int:
        """Forgets how runs went of models that had none for 30 days; returns of how many.

        One call and one billed command for each, and none without models.
        """
        if not models:
            return 0
        return (await self._run("forget_runs", Forgotten, kept_for=RUNS_KEPT_FOR, models=models)).forgotten

    async def stats(self) -> Stats:
        """What waits and runs in each queue, the live limits and pauses, and the counters."""
        queues = self._settings.queue_list
        counted = await self._run("stats", Counted)
        per_queue = tuple(
            QueueCounts(queue.name, counted.counts[2 * n], counted.counts[2 * n + 1], queue.concurrency)
            for n, queue in enumerate(queues)
        )
        counters = {name: count for name, count in counted.counters.items() if name not in NO_COUNTERS}
        lost = {member.partition("|")[2].partition(":")[0]: since for member, since in counted.lost.items()}
        of_keys = counted.of_keys
        per_key = tuple(
            KeyCounts(name, *pair)
            for name, pair in zip(self._settings.callers, zip(of_keys[::2], of_keys[1::2], strict=True), strict=False)
        )
        return Stats(
            per_queue,
            counted.delayed,
            counted.dead,
            counters,
            counted.backlog,
            counted.gates,
            counted.unknown,
            lost,
            per_key,
            counted.pauses,
        )

    async def health(self) -> Facts:
        """What keeps jobs from their providers; one call, which also shows that the store answers."""
        return await self._run("health", Facts)

    async def last_tick_at(self) -> int | None:
        """When the last tick ran (ms), by a plain read; None if there was none."""
        value = await self._store.execute("HGET", self.keys.stats, "tick_at")
        return int(value) if value else None
