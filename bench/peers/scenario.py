"""The scenario of each queue: some jobs to warm up, jobs one at a time, a burst, and an idle time."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from bench.peers.catalogue import SLUICE, Peer
from bench.peers.installing import NotInstalled, install, version
from bench.peers.monitor import Counts, Monitor
from bench.peers.relay import Relay
from bench.peers.running import TRAILING, PeerFailed, Running
from local.rest_server.running import RunningServer, running_server

WARM_UP = 3
PAUSE = 0.03  # s between a job and its poll
DAY = 86_400
TICK = 60


@dataclass(frozen=True)
class Phase:
    """The commands and round trips of one part of the scenario, for ``count`` jobs or days."""

    outer: int
    inner: int
    trips: int
    count: float

    @property
    def commands(self) -> float:
        """Commands per job or day, including those of scripts."""
        return (self.outer + self.inner) / self.count


@dataclass
class Row:
    """One queue; its phases by name, or the reason why there are none."""

    peer: Peer
    version: str = ""
    phases: dict[str, Phase] = field(default_factory=dict)
    failure: str = ""
    is_installed: bool = True


@dataclass(frozen=True)
class Plan:
    """The size of each part."""

    jobs: int = 50
    burst: int = 200
    idle: float = 60.0  # s
    ticks: int = DAY // TICK


class Measured:
    """A queue under measurement, with its counters."""

    def __init__(self, row: Row, running: Running, counts: Callable[[], Counts], trips: Callable[[], int]) -> None:
        self.row = row
        self.running = running
        self._counts = counts
        self._trips = trips

    @contextmanager
    def phase(self, name: str, count: float) -> Iterator[None]:
        """Counts the commands and round trips inside the block."""
        counts, trips = self._counts(), self._trips()
        yield
        spent = self._counts() - counts
        self.row.phases[name] = Phase(spent.outer.total(), spent.inner.total(), self._trips() - trips, count)

    def work(self, plan: Plan) -> None:
        """Runs the jobs; the first ones load scripts and open connections, and no phase counts them."""
        self.running.put(WARM_UP)
        self.running.poll(WARM_UP)
        time.sleep(TRAILING)
        with self.phase("paced", plan.jobs):
            for _ in range(plan.jobs):
                self.running.put(1)
                time.sleep(PAUSE)
                self.running.poll(1)
        with self.phase("burst", plan.burst):
            self.running.put(plan.burst)
            time.sleep(TRAILING)
            status = self.running.poll(plan.burst)
        if status != self.row.peer.done:
            raise PeerFailed(f"the last job's status was {status!r}")

    def tick(self, plan: Plan) -> None:
        """Runs a day of ticks without jobs, for Sluice, which sends no other commands while idle."""
        with self.phase("idle", plan.ticks * TICK / DAY):
            self.running.tick(plan.ticks)


def measure(peers: Sequence[Peer], plan: Plan) -> tuple[list[Row], tuple[int, dict[str, int]], str]:
    """Returns a row for each queue, MONITOR compared with the server's statistics, and the server's version."""
    rows = [Row(peer) for peer in peers]
    with running_server() as server, Monitor(server.engine.socket_path) as monitor, ExitStack() as stack:
        measured = []
        # All workers start at once, since a start is mostly imports. Each has its own database, which MONITOR shows.
        for database, row in enumerate(rows, 1):
            started = _start(row, database, server, monitor, stack)
            measured += [started] if started else []
        for one in measured:
            _print(f"{one.row.peer.name} ...")
            with _failing(one.row):
                one.work(plan)
        measured = [one for one in measured if not one.row.failure]
        for one in measured:
            if one.row.peer is SLUICE:
                with _failing(one.row):
                    one.tick(plan)
        _print(f"idle for {plan.idle:g} s ...")
        _idle([one for one in measured if one.row.peer is not SLUICE], plan.idle)
        comparison = monitor.comparison()
        info = str(server.ask("INFO", "server").decode())  # type: ignore[union-attr]
    return rows, comparison, _server_version(info)


def _start(row: Row, database: int, server: RunningServer, monitor: Monitor, stack: ExitStack) -> Measured | None:
    """Installs and starts a queue; on failure records it in the row and returns None."""
    try:
        install(row.peer)
        if row.peer is SLUICE:
            # The REST API has one database, 0.
            variables = {"SLUICE_URL": server.url, "SLUICE_TOKEN": server.token}
            running = stack.enter_context(Running(row.peer, "", variables))
            return Measured(row, running, lambda: monitor.counts(0), lambda: server.bill().calls)
        row.version = version(row.peer)
        relay = stack.enter_context(Relay(server.engine.socket_path))
        url = f"redis://127.0.0.1:{relay.port}/{database}"
        running = stack.enter_context(Running(row.peer, url, {}))
        return Measured(row, running, lambda: monitor.counts(database), lambda: relay.trips)
    except NotInstalled as missing:
        row.failure, row.is_installed = str(missing), False
    except OSError as failed:
        row.failure = str(failed)
    return None


@contextmanager
def _failing(row: Row) -> Iterator[None]:
    try:
        yield
    except PeerFailed as failed:
        row.failure = str(failed)


def _idle(measured: Sequence[Measured], seconds: float) -> None:
    with ExitStack() as stack:
        for one in measured:
            stack.enter_context(one.phase("idle", seconds / DAY))
        time.sleep(seconds)


def _server_version(info: str) -> str:
    fields = dict(line.partition(":")[::2] for line in info.splitlines())
    return f"Valkey {fields['valkey_version']}" if "valkey_version" in fields else f"Redis {fields['redis_version']}"


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
