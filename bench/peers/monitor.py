"""Counts what MONITOR shows, by database, the commands of scripts apart from those of clients."""

import re
import secrets
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import redis

LINE = re.compile(rb'^\+\d+\.\d+ \[(\d+) (\S+)\] "([^"]*)"(?: "([^"]*)")?')
# These open or keep a connection, or observe. They belong to a connection and not to a job, so they are not counted.
# Upstash's page of prices says that INFO, PING, AUTH and the like are free. ECHO is the bench's own.
FREE = frozenset("auth client command config echo hello info monitor ping quit reset select".split())
# The server's statistics omit a blocking command that still waits, or whose wait timed out.
BLOCKING = frozenset("blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin xread xreadgroup".split())
MARK_DEADLINE = 30.0  # s
BLOCK = 1 << 20


@dataclass
class Counts:
    """Commands that clients sent, and commands that scripts ran, by name."""

    outer: Counter[str] = field(default_factory=Counter)
    inner: Counter[str] = field(default_factory=Counter)

    def copy(self) -> "Counts":
        return Counts(self.outer.copy(), self.inner.copy())

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(self.outer - earlier.outer, self.inner - earlier.inner)

    @property
    def commands(self) -> int:
        """The sum, as Upstash would bill it in a database without read regions."""
        return self.outer.total() + self.inner.total()


def read_line(line: bytes) -> tuple[int, bool, str, str] | None:
    """Returns the database, whether a script ran it, the command's lowercase name and first argument of a MONITOR line.

    None for any other line. The server escapes line ends and quotation marks inside arguments.
    """
    found = LINE.match(line)
    if found is None:
        return None
    database, client, name, first = found.groups()
    return int(database), client == b"lua", name.decode().lower(), (first or b"").decode(errors="replace")


class Monitor:
    """Reads MONITOR in a thread until the block ends. ``counts`` returns the exact counts at the moment of the call."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._control = redis.Redis(unix_socket_path=socket_path)
        self._counts: dict[int, Counts] = {}
        self._marked: dict[str, dict[int, Counts]] = {}
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(self._path)
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(len(b"+OK\r\n"), socket.MSG_WAITALL) == b"+OK\r\n"  # from here on no command is missed
        self._thread = threading.Thread(target=self._read, name="monitor", daemon=True)
        self._thread.start()
        self._control.config_resetstat()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        self._control.close()

    def counts(self, database: int) -> Counts:
        """Returns all commands that the server has run in one database before this call."""
        return self._mark().get(database, Counts())

    def comparison(self) -> tuple[int, dict[str, int]]:
        """Returns the commands since the start, and by name how many of them the server's statistics lack."""
        seen: Counter[str] = Counter()
        for counts in self._mark().values():
            seen += counts.outer + counts.inner
        counted = read_statistics(self._control.info("commandstats"))
        fewer = {name: seen[name] - counted[name] for name in {*seen, *counted} if seen[name] != counted[name]}
        return seen.total(), fewer

    def _mark(self) -> dict[int, Counts]:
        mark = secrets.token_hex(8)
        self._control.echo(mark)
        with self._news:
            if not self._news.wait_for(lambda: mark in self._marked, MARK_DEADLINE):
                raise TimeoutError("MONITOR does not show what was sent")
            return self._marked.pop(mark)

    def _read(self) -> None:
        rest = b""
        while block := self._socket.recv(BLOCK):
            *lines, rest = (rest + block).split(b"\r\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        read = read_line(line)
        if read is None:
            return
        database, is_inner, name, first = read
        if name == "echo":
            with self._news:
                self._marked[first] = {number: counts.copy() for number, counts in self._counts.items()}
                self._news.notify_all()
        elif name not in FREE:
            counts = self._counts.setdefault(database, Counts())
            (counts.inner if is_inner else counts.outer)[name] += 1


def read_statistics(commandstats: dict[str, dict[str, int]]) -> Counter[str]:
    """Returns how often each command was called, without those of FREE."""
    called: Counter[str] = Counter()
    for name, statistics in commandstats.items():
        plain = name.removeprefix("cmdstat_").partition("|")[0]
        if plain not in FREE:
            called[plain] += statistics["calls"]
    return called


def is_explained(fewer: dict[str, int]) -> bool:
    """Whether MONITOR and the statistics agree except on blocking commands."""
    return all(name in BLOCKING and count > 0 for name, count in fewer.items())
