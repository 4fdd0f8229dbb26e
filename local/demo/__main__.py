"""`python -m local.demo`: shows five jobs moving through the whole system, and leaves their files."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from local.configuration import DATA_DIR, Configuration
from local.demo.cost import cost, start_bill
from local.demo.display import LiveTable, PlainLines, rank, short
from local.demo.pursuit import Pursued, Pursuit
from local.demo.results import UnusableResult, clear, download
from local.demo.scenario import ORDERS, SETTINGS, TICK_SECONDS
from local.stack import Stack, StackError

DEADLINE_SECONDS = 90.0
WIDTH_WITHOUT_TERMINAL = 120


class DemoFailed(Exception):
    """Not every job came to a good end; the message names those."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when all five jobs are completed and their files can be played, else 1; 130 after an interruption."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, help=f"keep files here (default: {DATA_DIR})")
    data_dir: Path = parser.parse_args(arguments).data_dir
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)
    try:
        _demonstrate(console, data_dir)
    except KeyboardInterrupt:
        return 130
    except (DemoFailed, StackError, UnusableResult, httpx.HTTPError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _demonstrate(console: Console, data_dir: Path) -> None:
    results = data_dir / "demo" / "results"
    clear(results)
    print(f"Starting functions, store, provider and schedule (their logs: {data_dir / 'logs'}) ...", flush=True)
    with Stack(_configuration(data_dir)) as stack:
        start_bill(stack)
        print(f"{len(ORDERS)} jobs, {SETTINGS['MAX_CONCURRENT_TASKS']} at a time:\n", flush=True)
        jobs = asyncio.run(_run(stack, console))
        missing = [f"{job.id} ({job.status}: {job.note})" for job in jobs if job.status != "completed"]
        if missing:
            raise DemoFailed(f"not completed after {DEADLINE_SECONDS:g} s: {', '.join(missing)}")
        bill = cost(stack, jobs)
        files = [download(job, results) for job in jobs]
        console.print("\nResults", style="bold")
        console.print(_summary(jobs, files))
        print(f"\n{bill}\n\nThe finished files are in {results}", flush=True)


def _configuration(data_dir: Path) -> Configuration:
    """A stack beside any other: on free ports, with a store that begins empty and settings of its own."""
    return Configuration(
        port=0, store_port=0, provider_port=0, tick=TICK_SECONDS, data_dir=data_dir / "demo", fresh=True,
        log_dir=data_dir / "logs", settings=SETTINGS, sealed=True,
    )  # fmt: skip


async def _run(stack: Stack, console: Console) -> list[Pursued]:
    """Returns the jobs as they were when the last one ended, or at the deadline."""
    jobs: list[Pursued] = []
    is_live = sys.stdout.isatty() and not console.is_dumb_terminal
    display = LiveTable(console, jobs) if is_live else PlainLines()
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with httpx.AsyncClient(base_url=stack.urls.functions, headers=headers, trust_env=False) as client:
        pursuit = Pursuit(client, display.changed, stack.check, jobs)
        with display.shown():
            await pursuit.submit(ORDERS)
            with suppress(TimeoutError):  # the caller names what is missing
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await pursuit.follow()
    return jobs


def _summary(jobs: Sequence[Pursued], files: Sequence[Path]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("job", "user", "priority", "status", "attempts", "seconds"):
        table.add_column(title, no_wrap=True)
    table.add_column("file", overflow="fold")
    for job, file in zip(jobs, files, strict=True):
        table.add_row(
            short(job), job.order.user, rank(job), job.status, str(job.attempts), f"{job.seconds or 0:.1f}", file.name
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
