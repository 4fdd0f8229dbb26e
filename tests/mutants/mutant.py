"""A mutant: small edits, and the tests that must fail once they are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.edit import Edit, script_edit

QUEUE_TESTS = "tests/queue/test_jobqueue.py"
TARGETED = "tests/mutants/test_mutants.py"


@dataclass(frozen=True)
class Mutant:
    """One deliberate bug. ``tests`` are node ids; at least one of them must fail."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(edit.file for edit in self.edits))

    def apply(self, root: Path) -> None:
        """Makes all its edits in the project under ``root``, or raises EditDoesNotApply."""
        for edit in self.edits:
            path = root / edit.file
            path.write_text(edit.applied_to(path.read_text(encoding="utf-8")), encoding="utf-8")


def lua(name: str, file: str, anchor: str, after: str, *tests: str, part: str = "") -> Mutant:
    """A mutant of one verb or library; see Edit."""
    return Mutant(name, (script_edit(file, anchor, after, part),), tests)


def python(name: str, file: str, anchor: str, after: str, *tests: str, part: str = "") -> Mutant:
    """A mutant of one Python module; see Edit."""
    return Mutant(name, (Edit(file, anchor, after, part),), tests)


def contract(*names: str) -> Sequence[str]:
    """Tests of the verbs' contract, on memory mode: the scripts are the same, and no server has to start."""
    return [f"{QUEUE_TESTS}::test_{name}[memory]" for name in names]


def attempts(*names: str) -> Sequence[str]:
    """Tests of the ends of attempts, on memory mode."""
    return [f"tests/queue/test_attempts.py::test_{name}[memory]" for name in names]


def backlog(name: str) -> Sequence[str]:
    """A test of users' backlogs, on memory mode."""
    return [f"tests/queue/test_backlog.py::test_{name}[memory]"]


def batches(name: str) -> Sequence[str]:
    """A test of batches, on memory mode."""
    return [f"tests/queue/test_batches.py::test_{name}[memory]"]


def pushback(name: str) -> Sequence[str]:
    """A test of pauses, probes and buckets; with the parameters that it needs."""
    return [f"tests/queue/test_pushback.py::test_{name}"]


def refusals(name: str) -> Sequence[str]:
    """A test of what becomes of a refused job and of its provider's pause, on memory mode unless it says more."""
    return [f"tests/queue/test_refusals.py::test_{name}{'' if name.endswith(']') else '[memory]'}"]


def suspects(name: str) -> Sequence[str]:
    """A test of what others have disproved, on memory mode unless it says more."""
    return [f"tests/queue/test_suspects.py::test_{name}{'' if name.endswith(']') else '[memory]'}"]


def circuit(name: str) -> Sequence[str]:
    """A test of circuits."""
    return [f"tests/queue/test_circuit.py::test_{name}"]


def unknown(name: str) -> str:
    """A test of submissions whose outcome is unknown, on memory mode."""
    return f"tests/queue/test_unknown.py::test_{name}[memory]"


def targeted(name: str) -> str:
    """A test that was written for this mutant."""
    return f"{TARGETED}::test_{name}"
