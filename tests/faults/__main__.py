"""Replays one plan and shows each I/O: ``python -m tests.faults ordinary lost "crash after 5" "pause before 9"``."""

import asyncio
import sys

from tests import conftest  # noqa: F401 (sets the environment that the settings read)
from tests.faults.engines import MemoryEngine
from tests.faults.error_log import collecting_errors
from tests.faults.files import without_threads
from tests.faults.outbox_scenarios import LASTING, OUTBOX_SCENARIOS
from tests.faults.plan import KINDS, WHENS, Fault, FaultPlan
from tests.faults.scenario import WEBHOOK_MODES
from tests.faults.scenarios import SCENARIOS
from tests.faults.simulation import START, Simulation, settings_of
from tests.invariants import State

SHOWN = (
    "state",
    "attempt",
    "prediction",
    "outcome",
    "snoozes",
    "rescues",
    "error_code",
    "cancel_requested",
    "storing",
    "turn",
)


class Shown(Simulation):
    """A simulation that prints each I/O and its changes."""

    def _look(self) -> None:
        before, known = self.books.state, len(self.books.outcome.violations)
        super()._look()
        point = self.plan.points[-1] if self.plan.points else ""
        made = " ".join(f"{p.id}:{self.names[p.job]}:{p.attempt}:{p.status}" for p in self.books.made.values())
        place = f"{(self.books.now - START) / 1000:7.1f} {len(self.plan.points):4} {point:24}"
        print(f"{place} {self._changes(before)} [{made}]")
        for violation in self.books.outcome.violations[known:]:
            print(f"        !!! {violation}")

    def _changes(self, before: State) -> str:
        changes = []
        for job_id, job in self.books.state.jobs.items():
            known = before.jobs.get(job_id, {})
            new = {name: job[name] for name in SHOWN if name in job and job[name] != known.get(name)}
            changes += [f"{self.names[job_id]} {new}"] if new else []
        return ", ".join(changes)


def fault(text: str) -> Fault:
    """Parses a fault; a report writes it as ``crash after I/O 5``."""
    kind, when, number = text.replace("I/O ", "").split()
    return Fault(int(number), next(w for w in WHENS if w == when), next(k for k in KINDS if k == kind))


async def replay(name: str, webhooks: str, *faults: str) -> None:
    scenario = next(s for s in (*SCENARIOS, *OUTBOX_SCENARIOS, *LASTING) if s.name == name)
    mode = next(m for m in WEBHOOK_MODES if m == webhooks)
    settings = settings_of(scenario)
    engine = MemoryEngine(settings.prefix)
    simulation = Shown(scenario, mode, FaultPlan(tuple(fault(text) for text in faults)), engine, settings)
    with collecting_errors(), without_threads():
        while not simulation.is_over:
            await simulation.step()
        print(simulation.judge())


if __name__ == "__main__":
    asyncio.run(replay(*sys.argv[1:]))
