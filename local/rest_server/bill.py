"""Counts the commands that Upstash would charge: every command of a request and every command a script runs.

Upstash bills each command of a pipeline or transaction, and with EVAL the script and each `redis.call` in it (its
pricing page and the ratelimit library's page of costs). The REST server counts the commands it was sent. The engine's
`INFO commandstats` counts all commands; the difference is those inside scripts. It is exact while no request is under
way and no other client talks to the engine.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from .connections import Command, Reply

# Sent when a connection opens or by a test, never by a script; these commands count only if a request sends them.
NEVER_IN_SCRIPTS = frozenset(
    "auth client command config discard exec hello info monitor multi ping quit reset select".split()
)


@dataclass(frozen=True)
class Bill:
    """HTTP calls, commands they carried (outer), commands run inside scripts (inner)."""

    calls: int
    outer: int
    inner: int
    by_command: dict[str, int] = field(default_factory=dict)
    """Outer and inner together, by lowercase command name; `script|load` counts as `script`."""

    @property
    def billed(self) -> int:
        """The number Upstash would add to the month's commands, in a database without read regions."""
        return self.outer + self.inner

    def as_json(self) -> dict[str, object]:
        """Returns the fields and the sum, as `GET /-/bill` shows them."""
        return asdict(self) | {"billed": self.billed}


class Ledger:
    """Counts what passes through the server and settles it against the engine's own counters."""

    def __init__(self) -> None:
        self._calls = 0
        self._outer: Counter[str] = Counter()
        self._unbilled: Counter[str] = Counter()
        self._engine_before: Counter[str] = Counter()

    def add_call(self) -> None:
        """Counts one HTTP request, whether it succeeds or not."""
        self._calls += 1

    def add_command(self, command: Command) -> None:
        """Counts a command the engine was asked to run for a request."""
        self._outer[_name(command)] += 1

    def add_unbilled(self, command: Command) -> None:
        """Counts a command the server or a test ran for itself, so that it is not taken for a script's."""
        self._unbilled[_name(command)] += 1

    def reset(self, engine: Counter[str]) -> None:
        """Starts over from the engine's present counters."""
        self._calls = 0
        self._outer.clear()
        self._unbilled.clear()
        self._engine_before = engine

    def settle(self, engine: Counter[str]) -> Bill:
        """Returns the bill since the last reset, given the engine's present counters."""
        # Counter's subtraction drops counts below 1: a command the engine does not know is in no engine counter.
        inner = engine - self._engine_before - self._outer - self._unbilled
        for name in NEVER_IN_SCRIPTS:
            inner.pop(name, None)
        total = self._outer + inner
        return Bill(self._calls, self._outer.total(), inner.total(), dict(sorted(total.items())))


def read_command_stats(reply: Reply) -> Counter[str]:
    """Returns how often the engine ran or refused each command, from the answer to `INFO commandstats`.

    A refused command (wrong number of arguments) is counted in `rejected_calls` alone, so both are added.
    """
    if not isinstance(reply, bytes):
        raise TypeError(f"INFO answered {reply!r}")
    counts: Counter[str] = Counter()
    for line in reply.decode().splitlines():
        name, colon, rest = line.removeprefix("cmdstat_").partition(":")
        if colon:
            numbers: Mapping[str, str] = dict(pair.split("=", 1) for pair in rest.split(","))
            counts[name.partition("|")[0]] += int(numbers["calls"]) + int(numbers.get("rejected_calls", 0))
    return counts


def _name(command: Command) -> str:
    return command[0].decode(errors="replace").lower()
