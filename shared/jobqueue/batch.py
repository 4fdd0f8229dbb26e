"""A batch as the store holds it, and its status, which follows from those of its jobs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, cast, get_args

from shared.jobqueue.state import Outcome, Status
from shared.storage.files import read_files

Policy = Literal["best_effort", "all_or_nothing"]
Counts = dict[Status, int]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
STATUSES: tuple[Status, ...] = get_args(Status)
RESULT_FIELDS = 5  # of a job, as batch_read answers them


class JobResult:
    """What came of one job of a batch: its output (JSON text), its error, its files, and when it ended (ms)."""

    def __init__(self, output: str, code: str, detail: str, files: str, ended_at: str) -> None:
        self.output: Final = output or None
        self.error_code: Final = code
        self.error_detail: Final = detail
        self.files: Final = read_files(files)
        self.ended_at: Final = int(ended_at or "0")


class BatchRecord:
    """One batch. Times are in ms, ``metadata`` is JSON text.

    ``live`` and ``running`` are ids of its jobs, as far as they were read; ``results`` are those of its jobs from
    number ``first`` on. Raises KeyError or ValueError for fields that are no batch's.
    """

    def __init__(
        self,
        batch_id: str,
        fields: Mapping[str, str],
        *,
        live: Collection[str] = (),
        running: Collection[str] = (),
        first: int = 0,
        results: Sequence[str] = (),
    ) -> None:
        self.id: Final = batch_id
        self.owner: Final = fields["owner"]
        self.user: Final = fields["user"]
        self.queue: Final = fields["queue"]
        self.policy: Final = cast(Policy, fields["policy"])
        self.expected: Final = int(fields["expected"])
        self.metadata: Final = fields["metadata"]
        self.cost: Final = fields.get("cost", "")  # of each job, under the fair policy
        self.rounds: Final = int(fields.get("rounds") or "0")  # of retries
        self.created_at: Final = int(fields["created_at"])
        self.ended_at: Final = int(fields.get("ended_at") or "0") or None
        self.is_live: Final = bool(live)
        self.first: Final = first
        self.results: Final = [
            JobResult(*results[at : at + RESULT_FIELDS]) for at in range(0, len(results), RESULT_FIELDS)
        ]
        # After a retry another job has the place.
        self.job_ids: Final = [fields.get(f"i{n}", f"{batch_id}_{n}") for n in range(self.expected)]
        self.statuses: Final = [
            cast(Outcome | None, fields.get(f"s{n}")) or ("processing" if job_id in running else "pending")
            for n, job_id in enumerate(self.job_ids)
        ]


def counts_of(statuses: Sequence[Status]) -> Counts:
    """How many jobs have each status."""
    return {status: statuses.count(status) for status in STATUSES}


def ended_of(counts: Counts) -> int:
    """How many of the jobs have ended."""
    return sum(counts[outcome] for outcome in OUTCOMES)


def batch_status(policy: Policy, counts: Counts, *, has_ended: bool) -> Status:
    """The batch's own status: terminal once all its jobs are; its policy says what a failure makes of it."""
    if not has_ended:
        return "processing" if counts["processing"] or ended_of(counts) else "pending"
    if policy == "all_or_nothing" and counts["failed"]:
        return "failed"
    if policy == "all_or_nothing" and counts["canceled"]:
        return "canceled"
    if counts["completed"]:
        return "completed"
    return "failed" if counts["failed"] else "canceled"
