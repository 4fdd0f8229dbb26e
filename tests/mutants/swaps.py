"""Swaps each two arguments of each verb, and looks for the test that notices it.

python -m tests.mutants.swaps          all verbs; exit code 1 if a swap is noticed by nothing
python -m tests.mutants.swaps fail     one verb

A swap is made where a call's values are known by name, so that it does what a caller does who mixes two names up. First
all tests run once as they are, and each call is noted. Where the kinds of two arguments refuse the swap in every noted
call, no test is needed. Any other swap is made in the tests in which it would send something else, until one fails.
"""

import itertools
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.jobqueue.keys import Keys
from shared.jobqueue.kinds import Value
from shared.jobqueue.script import VERBS, Script, script
from shared.jobqueue.scripted import Scripted

TESTS = (
    "tests/queue/test_jobqueue.py", "tests/queue/test_attempts.py", "tests/queue/test_waiting.py",
    "tests/queue/test_circuit.py", "tests/queue/test_backlog.py", "tests/queue/test_batches.py",
    "tests/queue/test_pushback.py", "tests/queue/test_explanation.py", "tests/queue/test_scripts.py",
    "tests/queue/test_arguments.py", "tests/http/test_listing.py", "tests/http/test_dead_letters.py",
    "tests/http/test_all_jobs.py",
    "tests/queue/test_shares.py", "tests/queue/test_unknown.py", "tests/queue/test_refusals.py",
    "tests/queue/test_suspects.py", "tests/queue/test_late_copies.py", "tests/http/test_limits.py",
    "tests/queue/test_incarnations.py", "tests/queue/test_key_weights.py", "tests/http/test_health.py",
    "tests/http/erasure/test_erasure.py", "tests/http/erasure/test_completeness.py", "tests/hooks/test_outbox.py",
    "tests/queue/test_spending.py", "tests/queue/test_spending_batches.py", "tests/statistics/test_folding.py",
    "tests/mutants/test_mutants.py",
)  # fmt: skip
NEEDING_A_SERVER = {"valkey", "valkey_world", "debian_redis", "simulator"}
TIMEOUT = 20  # s for one test; a swap may make a script run for long

Pair = tuple[str, str, str]  # verb and two names


@dataclass
class Noted:
    """What the calls of the tests as they are say of one pair."""

    refusals: int = 0  # calls in which the kinds refuse the swap
    changes: int = 0  # calls in which the swap would send something else
    items: set[str] = field(default_factory=set)  # the tests with such calls


class Swaps:
    """A plugin of pytest that runs its tests many times, each time with two arguments swapped."""

    def __init__(self, verbs: Sequence[str]) -> None:
        self._verbs = verbs
        self._items: dict[str, pytest.Item] = {}
        self._seconds: dict[str, float] = {}
        self._failures: list[str] = []
        self._noted: defaultdict[Pair, Noted] = defaultdict(Noted)
        self._running = ""
        self._swapped: Pair | None = None
        self.trouble = ""
        self.survivors: list[Pair] = []
        self.killed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keeps what runs in memory mode."""
        items[:] = [item for item in items if is_in_memory(item)]
        self._items = {item.nodeid: item for item in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failures.append(report.nodeid)

    def pytest_runtestloop(self) -> bool:
        values = Scripted._values

        def swapped(scripted: Scripted, called: Script, given: Mapping[str, Value]) -> dict[str, Value]:
            known = values(scripted, called, given)
            if self._swapped is None:
                self._note(called, known, scripted.keys)
            elif self._swapped[0] == called.verb:
                _, one, other = self._swapped
                known[one], known[other] = known[other], known[one]
            return known

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Scripted, "_values", swapped)
            self._run_all()
        return True

    def _run_all(self) -> None:
        for name in self._items:
            began = time.monotonic()
            if self._fails(name):
                self.trouble = name
                return
            self._seconds[name] = time.monotonic() - began
        for verb in self._verbs:
            useful: Counter[str] = Counter()
            for pair in pairs_of(script(verb)):
                noted = self._noted[pair]
                if noted.refusals and not noted.changes:
                    self.refused[verb] += 1
                elif name := self._killer(pair, noted, useful):
                    useful[name] += 1
                    self.killed[verb] += 1
                else:
                    self.survivors.append(pair)
            print(f"{verb}: {self.refused[verb]} refused by kind, {self.killed[verb]} noticed by tests", flush=True)

    def _killer(self, pair: Pair, noted: Noted, useful: Counter[str]) -> str:
        """The first test to fail under the swap, if one does; first those that noticed others, then the quick ones."""
        self._swapped = pair
        order = sorted(noted.items, key=lambda name: (-useful[name], self._seconds[name]))
        killer = next((name for name in order if self._fails(name)), "")
        self._swapped = None
        return killer

    def _fails(self, name: str) -> bool:
        self._running = name
        self._failures.clear()
        item = self._items[name]
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return bool(self._failures)

    def _note(self, called: Script, values: Mapping[str, Value], keys: Keys) -> None:
        for pair in pairs_of(called):
            _, one, other = pair
            if is_refused(called, keys, {one: values[other], other: values[one]}):
                self._noted[pair].refusals += 1
            elif values[one] != values[other]:
                self._noted[pair].changes += 1
            else:
                continue
            self._noted[pair].items.add(self._running)


def is_in_memory(item: pytest.Item) -> bool:
    """Whether a test runs without a server."""
    store = getattr(item, "callspec", None) and item.callspec.params.get("any_store")  # type: ignore[attr-defined]
    names = set(getattr(item, "fixturenames", ()))
    return store in (None, "memory") and not names & NEEDING_A_SERVER and not item.get_closest_marker("slow")


def pairs_of(called: Script) -> Iterator[Pair]:
    # What it only hands on is tried with the verb that it calls.
    names = [name for name in (*called.keys, *(one.name for one in called.arguments)) if name in called.own]
    return ((called.verb, one, other) for one, other in itertools.combinations(names, 2))


def is_refused(called: Script, keys: Keys, values: Mapping[str, Any]) -> bool:
    """Whether a call with these values would raise before anything is sent."""
    try:
        for name in called.keys:
            if name in values:
                keys.checked(name, values[name])
        for argument in called.arguments:
            if argument.name in values:
                argument.written(values[argument.name])
    except TypeError:
        return True
    return False


def main(verbs: Sequence[str]) -> int:
    """The exit code: 0 if every swap is refused or noticed."""
    began = time.process_time()
    swaps = Swaps(verbs or VERBS)
    arguments = ["-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts=", "-o", f"timeout={TIMEOUT}", *TESTS]
    pytest.main(arguments, plugins=[swaps])
    if swaps.trouble or not swaps.killed:
        print(f"{swaps.trouble} fails without a swap, so that nothing can be proved")
        return 1
    for verb, one, other in swaps.survivors:
        print(f"SURVIVED: {verb}: {one} and {other}")
    noticed, refused = swaps.killed.total(), swaps.refused.total()
    print(f"{refused} swaps refused by kind, {noticed} noticed by tests, {len(swaps.survivors)} survived", end="")
    print(f" in {time.process_time() - began:.0f} s of CPU")
    return 1 if swaps.survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
