"""Pollers: clients that watch jobs as ``Retry-After`` asks, with the ETag that they have, in processes of their own.

    python -m tests.soak.pollers NAME COUNT URL FILE

Standard input has a line for each job that was accepted: its id and the number of its work. Each poller watches one
job to its end, and then another that is not over yet. When the input ends, each sees its job's end, and the process
ends. FILE gets the sightings (sightings.py).
"""

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import h11
import httpx

from tests.project import ROOT
from tests.soak.client import AUTH, TIMEOUT
from tests.soak.deployment import TIMES
from tests.soak.sightings import Sighting, read, seen_in, written

PAUSE = 1.0  # s until the next poll, if the answer does not ask for more, and between two jobs
PROCESSES = 2
MAX_LOST = 60  # answers in a row; the soak itself is gone then
RECENT = 40  # jobs; the last ones are watched, since most of the others are over


class Line:
    """One connection for one question after the other. A crowd over httpx would take more CPU than what it watches."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter, h11.Connection] | None = None

    async def get(self, path: str, headers: dict[str, str]) -> httpx.Response | None:
        """Returns the answer; None if it was lost, and the next question connects again."""
        try:
            async with asyncio.timeout(TIMEOUT):
                if self._open is None:
                    self._open = (*await asyncio.open_connection(self._host, self._port), h11.Connection(h11.CLIENT))
                return await self._answer(path, headers, *self._open)
        except (OSError, h11.RemoteProtocolError):
            self.close()
            return None

    async def _answer(
        self,
        path: str,
        headers: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        http: h11.Connection,
    ) -> httpx.Response:
        ask = h11.Request(method="GET", target=path, headers=[("Host", "front"), *headers.items()])
        writer.write(http.send(ask) or b"")
        http.send(h11.EndOfMessage())
        answer, body = httpx.Response(0), b""
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            match event:
                case h11.NEED_DATA:
                    http.receive_data(await reader.read(65_536))
                case h11.Response() as head:
                    answer = httpx.Response(head.status_code, headers=list(head.headers))
                case h11.Data(data=data):
                    body += data
                case h11.ConnectionClosed():
                    raise ConnectionError("closed")
        if http.our_state is http.their_state is h11.DONE:
            http.start_next_cycle()
        else:
            self.close()
        return httpx.Response(answer.status_code, headers=answer.headers, content=body)

    def close(self) -> None:
        """Ends the connection; the next question opens another."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


class Poller:
    """Watches one job after the other, each over a connection of its own."""

    def __init__(self, name: str, url: str, jobs: dict[str, str], out: IO[str]) -> None:
        self._name = name
        self._line = Line(url)
        self._jobs = jobs  # the works' numbers by the jobs' ids; those that are over are taken out
        self._out = out
        self._chance = random.Random(name)

    async def run(self, is_closed: asyncio.Event) -> None:
        """Returns when no more jobs come and its own is over."""
        await asyncio.sleep(self._chance.uniform(0, PAUSE))
        while not is_closed.is_set():
            if self._jobs:
                job, work = self._chance.choice([*self._jobs.items()][-RECENT:])
                await self._watch(job, work)
                self._line.close()
                self._jobs.pop(job, None)
            await asyncio.sleep(PAUSE)

    async def _watch(self, job: str, work: str) -> None:
        etag, document, lost = "", dict[str, Any](), 0
        while lost < MAX_LOST:
            sent = time.monotonic()
            headers = {**AUTH, **({"If-None-Match": etag} if etag else {})}
            answer = await self._line.get(f"/api/status/{job}", headers)
            lost = lost + 1 if answer is None else 0
            code, pause, fault = 0, 0.0, ""
            if answer is not None:
                code, pause = answer.status_code, float(answer.headers.get("retry-after", 0))
                if code == 200:
                    document = answer.json()
                fault = fault_in(answer, document, etag, job, work)
                etag = answer.headers.get("etag", etag) if code == 200 else etag
            seen = Sighting(
                self._name, job, sent, time.monotonic(), code, pause,
                fault=fault, **seen_in(document),
            )  # fmt: skip
            self._out.write(written(seen) + "\n")
            if seen.is_end:
                return
            # A refusal asks for production's seconds, since no setting scales the limits of a database.
            await asyncio.sleep(max(PAUSE, pause * (1.0 if seen.is_answered else TIMES["TIMING_SCALE"])))


def fault_in(answer: httpx.Response, document: dict[str, Any], etag: str, job: str, work: str) -> str:
    """Returns what is wrong with an answer: it is another job's, or it is no answer to this request; else ''."""
    if answer.status_code == 304 and answer.headers.get("etag") != etag:
        return f"304 to {etag!r} with {answer.headers.get('etag')!r}"
    if answer.status_code == 200 and (document["id"], document["metadata"].get("work")) != (job, work):
        return f"the answer is that of {document['id']}, work {document['metadata'].get('work')} instead of {work}"
    is_of_store = answer.status_code == 503 and '"code":"store_' in answer.text.replace(" ", "")
    return "" if is_of_store or answer.status_code in (200, 304) else f"{answer.status_code}: {answer.text[:200]}"


async def poll(name: str, count: int, url: str, file: Path) -> None:
    """Lets ``count`` pollers watch the jobs that standard input names."""
    jobs: dict[str, str] = {}
    is_closed = asyncio.Event()
    with file.open("w") as out:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(Poller(f"{name}{number}", url, jobs, out).run(is_closed))
            reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
            async for line in reader:
                job, work = json.loads(line)
                jobs[job] = work
            is_closed.set()


class Crowd:
    """The processes of the pollers, as the soak sees them."""

    def __init__(self, count: int, logs: Path) -> None:
        self.count = count
        self._logs = logs
        self._files = [logs / f"pollers{number}.jsonl" for number in range(PROCESSES if count else 0)]
        self._processes: list[asyncio.subprocess.Process] = []
        self._log: IO[str] | None = None

    async def start(self, url: str) -> None:
        """Starts the processes, with the pollers spread over them."""
        self._log = (self._logs / "pollers.log").open("w")
        for number, file in enumerate(self._files):
            share = len(range(number, self.count, PROCESSES))
            arguments = [sys.executable, "-m", "tests.soak.pollers", f"{number}/", str(share), url, str(file)]
            self._processes.append(
                await asyncio.create_subprocess_exec(
                    *arguments, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=self._log, stderr=self._log
                )
            )

    def name(self, job: str, work: str) -> None:
        """Names a job that was accepted."""
        for process in self._processes:
            if process.stdin is not None and process.returncode is None:
                process.stdin.write(json.dumps([job, work]).encode() + b"\n")

    async def finish(self) -> None:
        """Returns when each poller has seen the end of its job. Raises RuntimeError for a process that failed."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            if await process.wait():
                raise RuntimeError(f"the pollers failed; see {self._logs / 'pollers.log'}")

    async def stop(self) -> None:
        """Ends the processes at once, if they still run."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if self._log is not None:
            self._log.close()

    def sightings(self) -> list[Sighting]:
        """Returns all that was seen, in order of sending."""
        lines = itertools.chain.from_iterable(file.read_text().splitlines() for file in self._files if file.exists())
        return sorted(read(lines), key=lambda each: each.sent)


def main(arguments: Sequence[str]) -> None:
    """Runs the pollers of one process."""
    name, count, url, file = arguments
    asyncio.run(poll(name, int(count), url, Path(file)))


if __name__ == "__main__":
    main(sys.argv[1:])
