"""The measured queues: how each is started, and what it promises with its defaults.

The promises come from the documentation and source of the version named; they are not measured.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.environment import ROOT

HOME = ROOT / ".sluice" / "peers"
NODE = HOME / "node"
NODE_SOURCE = Path(__file__).parent / "node"


@dataclass(frozen=True)
class Promises:
    """Whether a running job survives the kill of its worker, which limits hold, and where the status is kept."""

    acknowledges: str
    limits: str
    status: str


@dataclass(frozen=True)
class Peer:
    """One queue. ``environment`` names the section of requirements-bench.txt, or ``node``."""

    name: str
    package: str
    environment: str
    worker: tuple[str, ...]
    client: tuple[str, ...]
    done: str
    """The status of a successful job in its client's words."""
    promises: Promises
    variables: Mapping[str, str] = field(default_factory=dict)

    def command(self, role: tuple[str, ...], url: str) -> list[str]:
        """Returns the command of its worker or client, with the programs of its own environment."""
        folder = HOME / self.environment / "bin"
        return [part.format(python=folder / "python", bin=folder, url=url) for part in role]


def _python(name: str, worker: str, done: str, promises: Promises, **variables: str) -> Peer:
    environment = name.partition(",")[0]
    client = ("{python}", "-m", f"bench.peers.with_{environment}")
    return Peer(name, environment, environment, tuple(("{bin}/" + worker).split()), client, done, promises, variables)


def _node(name: str, done: str, promises: Promises) -> Peer:
    program = ("node", "peers.js", name)
    return Peer(name, name, "node", (*program, "worker"), (*program, "client"), done, promises)


TASKIQ = "taskiq worker bench.peers.with_taskiq:broker --workers 1 --log-level ERROR"
OWN_STATUS = "in a result backend, until removed"
PER_WORKER = "each worker's own concurrency"

SLUICE = Peer(
    "Sluice", "", "", (), (sys.executable, "-m", "bench.peers.sluice"), "completed",
    Promises("yes: rescued after its lease", "user, queue, system, provider", "7 days"),
)  # fmt: skip
PEERS = (
    _python(
        "taskiq, list", TASKIQ, "True", Promises("no", PER_WORKER, OWN_STATUS), PEERS_BROKER="ListQueueBroker",
    ),
    _python(
        "taskiq, stream", TASKIQ, "True", Promises("yes: claimed again after 10 minutes", PER_WORKER, OWN_STATUS),
        PEERS_BROKER="RedisStreamBroker",
    ),
    _node("bee-queue", "succeeded", Promises("if checkStalledJobs() is run (not here)", PER_WORKER, "until removed")),
    _python(
        "saq", "saq bench.peers.with_saq.settings", "complete",
        Promises("noticed; run again if it has retries (not here)", PER_WORKER, "10 minutes"),
    ),
    _python(
        "celery", "celery -A bench.peers.with_celery worker -c 1 --loglevel ERROR", "SUCCESS",
        Promises("if acks_late is set (not here)", "a task's rate in each worker", "1 day"),
    ),
    _python(
        "dramatiq", "dramatiq -p 1 -t 1 bench.peers.with_dramatiq", "",
        Promises("yes: requeued when the heartbeat stops", "limiters by any key, called by jobs", "no, by default"),
    ),
    _python(
        "arq", "arq bench.peers.with_arq.WorkerSettings", "complete",
        Promises("yes: run again after its time limit", PER_WORKER, "1 hour"),
    ),
    _node(
        "bullmq", "completed",
        Promises("yes: stalled jobs run again", "queue, and its rate; users in BullMQ Pro", "until removed"),
    ),
    _python(
        "rq", "rq worker --quiet --url {url}", "finished",
        Promises("noticed; run again with a Retry (not here)", "concurrency by any key", "500 s"),
    ),
)  # fmt: skip
