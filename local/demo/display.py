"""Shows the jobs moving: as a live table in a terminal, otherwise as a line for each change."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from local.demo.following import FollowedJob

COLOURS = {"pending": "yellow", "processing": "cyan", "completed": "green", "failed": "red", "canceled": "magenta"}
FRAMES_A_SECOND = 8
ROOMY = 100  # columns of a terminal with space for wider gaps


def short(job: FollowedJob) -> str:
    """Returns enough of the id to distinguish five jobs."""
    return job.id[:8]


def rank(job: FollowedJob) -> str:
    """Returns its priority, and its tier unless that is the default."""
    return str(job.order.priority) if job.order.tier == "free" else f"{job.order.priority} {job.order.tier}"


class LiveTable:
    """Draws all jobs several times a second, as the last polls showed them."""

    def __init__(self, console: Console, jobs: Sequence[FollowedJob]) -> None:
        self._console = console
        self._jobs = jobs

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keeps the table on the screen until the block ends; its last state stays there."""
        with Live(get_renderable=self._table, console=self._console, refresh_per_second=FRAMES_A_SECOND):
            yield

    def changed(self, job: FollowedJob) -> None:
        """Does nothing: the next frame shows the change."""

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2 if self._console.width >= ROOMY else 1, 0, 0), header_style="dim")
        for title in ("job", "user", "priority", "status", "stage", "attempt", "progress"):
            table.add_column(title, no_wrap=True)
        table.add_column("note", style="dim")  # only this column wraps in a narrow terminal
        for job in self._jobs:
            table.add_row(
                short(job),
                job.order.user,
                rank(job),
                f"[{COLOURS[job.status]}]{job.status}[/]",
                job.stage,
                str(job.attempts or "-"),
                ProgressBar(total=100, completed=job.percent, width=10),
                job.note,
            )
        return table


class PlainLines:
    """Prints one line for each change of a job."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last: dict[str, str] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Prints the columns' titles."""
        print("   time  job       user   priority   status      stage       attempt  progress  note", flush=True)
        yield

    def changed(self, job: FollowedJob) -> None:
        """Prints the job's line unless the last one printed was the same."""
        line = (
            f"{short(job)}  {job.order.user:<5}  {rank(job):<9}  {job.status:<10}  {job.stage:<10}  "
            f"{job.attempts or '-':<7}  {job.percent:>7}%  {job.note}"
        )
        if self._last.get(job.id) != line:
            self._last[job.id] = line
            print(f"{time.monotonic() - self._began:6.1f}s  {line}", flush=True)
