"""One queue under measurement: its worker and its client, child processes that end with this one."""

import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bench.environment import ROOT
from bench.peers.catalogue import HOME, NODE, Peer

DEADLINE = 120.0  # s, for an order or for the jobs of one order
WHOLE_DEADLINE = 300.0  # s, for all orders to one queue
TRAILING = 0.5  # s for a worker's commands after a job
BACKLOG = 1 << 20  # bytes of announcements that may wait to be read
LINES_IN_ERRORS = 5
# Reads until this process closes the pipe, however it ends, then kills the child and its children.
GUARD = 'read -r _; kill -s KILL -- "-$0"'


class PeerFailed(Exception):
    """A peer did not carry out an order; the message ends with the last lines of its log."""


class Child:
    """A process in its own group; all its output goes to a log, except its answers."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log: Path, folder: Path) -> None:
        self.log = log
        self._answers: queue.Queue[str] = queue.Queue()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(variables),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def order(self, line: str, until: float) -> str:
        """Sends an order and returns the answer; ``until`` is a time of the monotonic clock. Raises PeerFailed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError:
            raise PeerFailed(f"takes no order. {self.last_lines()}") from None
        while time.monotonic() < until:
            with suppress(queue.Empty):
                return self._answers.get(timeout=1.0)
            self.check()
        raise PeerFailed(f"no answer to {line!r} in time. {self.last_lines()}")

    def check(self) -> None:
        """Raises PeerFailed if it has ended."""
        if self._process.poll() is not None:
            raise PeerFailed(f"ended with {self._process.returncode}. {self.last_lines()}")

    def last_lines(self) -> str:
        """Returns the end of its log."""
        return "Its log ends: " + " / ".join(self.log.read_text(errors="replace").splitlines()[-LINES_IN_ERRORS:])

    def stop(self) -> None:
        """Kills it and its group."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        self._guard.kill()  # before its pipe closes: by now another process may have the number
        self._guard.communicate()
        self._reader.join(DEADLINE)
        for end in filter(None, (self._process.stdin, self._process.stdout)):
            with suppress(OSError):
                end.close()

    def _read(self, lines: IO[str]) -> None:
        with self.log.open("a") as log:
            for line in lines:
                if line.startswith("= "):
                    self._answers.put(line[2:].strip())
                else:
                    log.write(line)
                    log.flush()


class Running:
    """Gives orders to one queue; a context manager around its processes."""

    def __init__(self, peer: Peer, url: str, variables: Mapping[str, str]) -> None:
        self.peer = peer
        self._ends = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ends.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BACKLOG)
        self._ends.bind(("127.0.0.1", 0))
        port = str(self._ends.getsockname()[1])
        own = {"PEERS_URL": url, "PEERS_PORT": port, "PYTHONPATH": str(ROOT)}
        self._environment = {**os.environ, **variables, **own, **peer.variables}
        self._commands = [peer.command(role, url) for role in (peer.client, peer.worker) if role]
        self._children: list[Child] = []
        self._open = ExitStack()
        self._until = 0.0
        self._status = ""

    def __enter__(self) -> Self:
        log = HOME / "logs" / f"{self.peer.name.replace(', ', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        folder = NODE if self.peer.environment == "node" else ROOT
        with ExitStack() as opened:
            opened.callback(self._ends.close)
            for command in self._commands:
                self._children.append(Child(command, self._environment, log, folder))
                opened.callback(self._children[-1].stop)
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def put(self, count: int) -> None:
        """Enqueues jobs and returns once all have run."""
        until = self._order(f"put {count}")
        for number in range(count):
            self._await_end(until, f"{number} of {count} jobs ran")

    def poll(self, count: int) -> str:
        """Polls each of the oldest unpolled jobs once; returns the last status."""
        self._order(f"poll {count}")
        return self._status

    def tick(self, count: int) -> None:
        """Makes the schedule call ``count`` times; only Sluice takes this order."""
        self._order(f"tick {count}")

    def _order(self, line: str) -> float:
        """Gives the client an order; returns the jobs' deadline."""
        now = time.monotonic()
        self._until = self._until or now + WHOLE_DEADLINE
        until = min(now + DEADLINE, self._until)
        self._status = self._children[0].order(line, until)
        return until

    def _await_end(self, until: float, so_far: str) -> None:
        self._ends.settimeout(1.0)
        while True:
            for child in self._children:
                child.check()
            try:
                self._ends.recv(64)
                return
            except TimeoutError:
                if time.monotonic() > until:
                    raise PeerFailed(f"{so_far} in time. {self._children[-1].last_lines()}") from None
