"""How much memory large things from outside take: ``python -m bench.memory``.

Each runs in a process of its own, against a server in this one. ``bench/memory_cases.py`` has the cases; a new one is a
function there. A function that shares its memory with other calls must not grow by much, whatever it is sent.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench import report
from bench.environment import ROOT
from bench.memory_cases import CASES

MAX_GROWTH = 40.0  # MB of 10^6 bytes, above the process's memory before the case
BLOCK = b"QUFB" * (64 * 1024)  # base64 of AAA
PREDICTIONS = {
    "output": (b'{"id":"p","status":"succeeded","output":"', b'"}'),
    "error": (b'{"id":"p","status":"failed","error":"', b'"}'),
    "film": (b'{"id":"p","status":"succeeded","output":["data:video/mp4;base64,', b'"]}'),
}
PACKAGES = ("httpx", "obstore")


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers ``GET /predictions/KIND-BYTES`` with a prediction whose kind has so many bytes."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        kind, _, size = head.split(b" ", 2)[1].rpartition(b"/")[2].decode().partition("-")
        begin, end = PREDICTIONS[kind]
        left = int(size)
        length = len(begin) + left + len(end)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (length, begin))
        while left:
            block = BLOCK[:left]
            writer.write(block)
            left -= len(block)
            await writer.drain()
        writer.write(end)
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has read enough
    finally:
        writer.close()


@contextmanager
def provider() -> Iterator[str]:
    """Yields the URL of a provider in a thread of this process."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def measure(case: str, server: str) -> dict[str, int]:
    """Returns the memory of one case in a new process, in bytes."""
    command = [sys.executable, "-m", "bench.memory_cases", case, server]
    printed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    taken: dict[str, int] = json.loads(printed.splitlines()[-1])
    return taken


def print_report(taken: dict[str, dict[str, int]]) -> bool:
    """Prints the table and returns whether the target is met."""
    growth = {case: (found["peak"] - found["baseline"]) / 1e6 for case, found in taken.items()}
    rows = [
        [
            case,
            f"{found['baseline'] / 1e6:.0f} MB",
            f"{found['peak'] / 1e6:.0f} MB",
            f"{growth[case]:.1f} MB",
            f"{(found['left'] - found['baseline']) / 1e6:.1f} MB",
            report.verdict(growth[case], MAX_GROWTH),
        ]
        for case, found in taken.items()
    ]
    report.print_table(["case", "baseline", "peak", "difference", "left behind", "target (difference, MB)"], rows)
    print()
    report.print_versions(PACKAGES)
    return all(value <= MAX_GROWTH for value in growth.values())


def main() -> int:
    """Measures and prints; returns 1 if a case takes too much memory."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if a target is missed")
    options = parser.parse_args()
    with provider() as server:
        is_met = print_report({case: measure(case, server) for case in CASES})
    return 0 if is_met or options.no_targets else 1


if __name__ == "__main__":
    sys.exit(main())
