"""`python -m local.demo`: shows five jobs moving through the whole system, and keeps their files."""

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

from local.configuration import DATA_DIR, Configuration, folder
from local.demo.cost import cost, start_bill
from local.demo.display import ROOMY, LiveTable, PlainLines
from local.demo.following import FollowedJob, Follower
from local.demo.results import UnusableResult, clear, download, stored
from local.demo.scenario import ORDERS, SETTINGS, TICK_SECONDS
from local.receiver import Receiver, secrets_of
from local.stack import Stack, StackError

DEADLINE_SECONDS = 90.0
WIDTH_WITHOUT_TERMINAL = 120


class DemoFailed(Exception):
    """Some jobs did not complete; the message names them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if all five jobs completed and their files can be played, else 1; 130 after an interruption."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--data-dir", type=folder, default=str(DATA_DIR), help=f"keep files here (default: {DATA_DIR})")
    parser.add_argument("--memory", action="store_true", help="keep the jobs in memory: needs no Valkey")
    given = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)
    try:
        _demonstrate(console, given.data_dir, is_in_memory=given.memory)
    except KeyboardInterrupt:
        return 130
    except (DemoFailed, StackError, UnusableResult, httpx.HTTPError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _demonstrate(console: Console, data_dir: Path, *, is_in_memory: bool) -> None:
    results = data_dir / "demo" / "results"
    clear(results)
    parts = "functions" if is_in_memory else "functions, store"
    print(f"Starting {parts}, provider and schedule (their logs: {data_dir / 'logs'}) ...", flush=True)
    with Stack(_configuration(data_dir, is_in_memory=is_in_memory)) as stack:
        start_bill(stack)
        print(f"{len(ORDERS)} jobs, {SETTINGS['MAX_CONCURRENT_TASKS']} at a time:\n", flush=True)
        jobs = asyncio.run(_run(stack, console))
        missing = [job for job in jobs if job.status != "completed" or not job.event]
        if missing:
            named = ", ".join(f"{job.id} ({job.status}, {job.stage}: {job.note})" for job in missing)
            raise DemoFailed(f"not completed and notified after {DEADLINE_SECONDS:g} s: {named}")
        files = [download(stack, job, results) for job in jobs]
        bill = cost(stack, jobs)
        console.print("\nResults", style="bold")
        console.print(_summary(console, jobs, files))
        print(f"\n{bill}\n\nThe finished files are in {results}, with the sha256 that their status shows", flush=True)


def _configuration(data_dir: Path, *, is_in_memory: bool) -> Configuration:
    """A stack that disturbs no other one: on free ports, with an empty store and its own settings."""
    return Configuration(
        port=0,
        store_port=0,
        provider_port=0,
        tick=TICK_SECONDS,
        data_dir=data_dir / "demo",
        fresh=True,
        memory=is_in_memory,
        log_dir=data_dir / "logs",
        settings=SETTINGS,
        sealed=True,
    )


async def _run(stack: Stack, console: Console) -> list[FollowedJob]:
    """Returns the jobs as they were when the last one was done and its event received, or at the deadline."""
    jobs: list[FollowedJob] = []
    is_live = sys.stdout.isatty() and not console.is_dumb_terminal
    display = LiveTable(console, jobs) if is_live else PlainLines()
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    loop = asyncio.get_running_loop()
    with Receiver(
        secrets_of(stack.urls.functions, stack.api_key),
        lambda event: loop.call_soon_threadsafe(follower.receive, event),
    ) as receiver:
        async with httpx.AsyncClient(base_url=stack.urls.functions, headers=headers, trust_env=False) as client:
            follower = Follower(client, receiver.url, display.changed, stack.check, jobs)
            with display.shown():
                await follower.submit(ORDERS)
                with suppress(TimeoutError):  # the caller names the missing ones
                    async with asyncio.timeout(DEADLINE_SECONDS):
                        await follower.follow()
    return jobs


def _summary(console: Console, jobs: Sequence[FollowedJob], files: Sequence[Path]) -> Table:
    table = Table(box=None, padding=(0, 2 if console.width >= ROOMY else 1, 0, 0), header_style="dim")
    for title in ("file", "user", "attempts", "seconds", "notified", "state", "size", "length", "thumbnail"):
        table.add_column(title, no_wrap=True)
    for job, path in zip(jobs, files, strict=True):
        file = stored(job)
        length = f"{file['duration']:.1f} s" if file["duration"] else "-"
        table.add_row(
            path.name,
            job.order.user,
            str(job.attempts),
            f"{job.seconds or 0:.1f}",
            f"{job.seconds_to_event or 0:.1f}",
            file["state"],
            f"{file['size'] / 1024:.1f} KB",
            length,
            "yes" if file["thumbnail_url"] else "-",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
