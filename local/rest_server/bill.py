"""What Upstash would charge for: every command a request carries and every command a script runs.

Upstash bills each command of a pipeline or transaction, and with EVAL the script and each `redis.call` in it (its
pricing page and the ratelimit library's page of costs). The REST server knows the commands it was sent; those inside
scripts are what the engine's `INFO commandstats` counted beyond them. That difference is exact while no request is
under way and nobody talks to the engine behind the server's back.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from .connections import Command, Reply

# Sent by whoever opens a connection or looks on, never by a script; commands of these names count only when a request
# asks.
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
        """Counts one HTTP request, whatever becomes of it."""
        self._calls += 1

    def add_command(self, command: Command) -> None:
        """Counts a command the engine was asked to run for a request."""
        self._outer[_name(command)] += 1

    def add_unbilled(self, command: Command) -> None:
        """Counts a command the server or a test ran for itself, so that it does not pass for a script's."""
        self._unbilled[_name(command)] += 1

    def reset(self, engine: Counter[str]) -> None:
        """Starts over, with the engine's counters as they stand now."""
        self._calls = 0
        self._outer.clear()
        self._unbilled.clear()
        self._engine_before = engine

    def settle(self, engine: Counter[str]) -> Bill:
        """Returns the bill since the last reset, given the engine's counters as they stand now."""
        # Counter's subtraction drops what is not positive: a command the engine did not know is in no engine counter.
        inner = engine - self._engine_before - self._outer - self._unbilled
        for name in NEVER_IN_SCRIPTS:
            inner.pop(name, None)
        total = self._outer + inner
        return Bill(self._calls, self._outer.total(), inner.total(), dict(sorted(total.items())))


def read_command_stats(reply: Reply) -> Counter[str]:
    """Returns how often the engine ran or refused each command, from the answer to `INFO commandstats`.

    A refusal (wrong number of arguments) was sent to the engine and is in `rejected_calls` alone, so both are added.
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
