"""Many submits at once in one process, against the same one after the other: ``python -m bench.load`` (Linux).

uvicorn serves the composed application over a local store. ``--against REVISION`` also measures another revision. CPU
is that of the serving process alone; store and client run in others.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench import report
from bench.invocations import SUBMISSION
from bench.servers import DEADLINE, HERE, PACKAGES, Server, serving, trees_with

AT_ONCE = (150, 200, 400)
ALONE = 200
TARGET = 1.5  # maximum of the CPU of a call among many, to that of one alone


@dataclass(frozen=True)
class Measured:
    """CPU in ms a call; how many calls each status got, 0 for those without an answer."""

    cpu: float
    statuses: Counter[int]


class Crowd:
    """Submits jobs over one connection each. Plain sockets: httpx's pool would spread the calls over time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._address = urlsplit(str(server.client.base_url))
        self._users = 0

    async def submit(self, count: int) -> Measured:
        """Opens all connections, then sends all submits at once."""
        opened = [await asyncio.open_connection(self._address.hostname, self._address.port) for _ in range(count)]
        requests = [self._request() for _ in opened]
        before = self._server.cpu()
        for (_, writer), request in zip(opened, requests, strict=True):
            writer.write(request)
        statuses = await asyncio.gather(*(_status(reader) for reader, _ in opened))
        spent = self._server.cpu() - before
        for _, writer in opened:
            writer.close()
        return Measured(1000 * spent / count, Counter(statuses))

    def _request(self) -> bytes:
        self._users += 1
        body = json.dumps({**SUBMISSION, "user_id": f"user{self._users}"}).encode()
        head = [
            "POST /api/submit HTTP/1.1",
            f"Host: {self._address.netloc}",
            f"Authorization: {self._server.client.headers['authorization']}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        return "\r\n".join([*head, "", ""]).encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    try:
        async with asyncio.timeout(DEADLINE):
            answer = await reader.read()
    except (OSError, TimeoutError):
        return 0
    return int(answer.split()[1]) if answer else 0


async def measure(server: Server, sizes: Sequence[int], alone: int) -> tuple[float, dict[int, Measured]]:
    """Returns the CPU of a call alone (ms), and what each size measured."""
    crowd = Crowd(server)
    await crowd.submit(8)  # opens connections to the store
    single = [(await crowd.submit(1)).cpu for _ in range(alone)]
    return sum(single) / alone, {size: await crowd.submit(size) for size in sizes}


def play(revision: str | None, sizes: Sequence[int], alone: int) -> dict[str, tuple[float, dict[int, Measured]]]:
    """Measures this tree, and the other revision."""
    with ExitStack() as stack:
        trees = stack.enter_context(trees_with(revision))
        served = {
            name: stack.enter_context(serving(tree, {"DISPATCH_ON_SUBMIT": "false"})) for name, tree in trees.items()
        }
        return {name: asyncio.run(measure(server, sizes, alone)) for name, server in served.items()}


def print_report(measured: dict[str, tuple[float, dict[int, Measured]]]) -> bool:
    """Prints all rows; returns whether this tree meets its targets."""
    rows, is_met = [], True
    for name, (alone, sizes) in measured.items():
        for size, found in sizes.items():
            failed = size - found.statuses[202]
            is_good = not failed and found.cpu <= TARGET * alone
            is_met = is_met and (is_good or name != HERE)
            verdict = "met" if is_good else "MISSED"
            rows.append(
                [f"{size}, {name}", f"{found.statuses[503]}", f"{failed - found.statuses[503]}", f"{alone:.2f}"]
            )
            rows[-1] += [f"{found.cpu:.2f}", f"{found.cpu / alone:.2f}", verdict if name == HERE else ""]
    columns = ["submits at once", "503", "other failures", "CPU alone, ms", "together", "ratio"]
    report.print_table([*columns, f"no failure, at most {TARGET:g}"], rows)
    print()
    report.print_versions(PACKAGES)
    return is_met


def main() -> int:
    """Measures and prints; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", metavar="REVISION", help="another revision, which is measured too")
    parser.add_argument("--sizes", type=int, nargs="+", default=AT_ONCE, help=f"default {AT_ONCE}")
    parser.add_argument("--alone", type=int, default=ALONE, help=f"submits one after the other (default {ALONE})")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    if not os.path.exists("/proc/self/task"):
        print("bench.load reads /proc, which this system does not have.")
        return 0
    is_met = print_report(play(options.against, options.sizes, options.alone))
    return 0 if is_met or options.no_targets else 1


if __name__ == "__main__":
    sys.exit(main())
