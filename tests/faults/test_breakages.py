"""Single faults find each deliberate bug in the scripts: a proof that misses bugs proves nothing."""

import random
from dataclasses import replace

import pytest

from shared.jobqueue.script import LIBRARIES, VERBS, Script, script
from tests.faults.breakages import BREAKAGES
from tests.faults.engines import MemoryEngine
from tests.faults.enumeration import every_fault
from tests.faults.exploration import Exploration

SAMPLE = 5


def verbs_of(source: str) -> tuple[str, ...]:
    """The verbs whose scripts hold the text of this file."""
    return tuple(VERBS) if source in LIBRARIES else (source,)


async def assert_is_noticed(breakage: str, memory: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    source, old, new, scenario, mode = BREAKAGES[breakage]

    def broken(name: str) -> Script:
        whole = script(name)
        return replace(whole, text=whole.text.replace(old, new)) if name in verbs_of(source) else whole

    monkeypatch.setattr("shared.jobqueue.scripted.script", broken)
    monkeypatch.setattr("tests.faults.store.script", broken)
    exploration = Exploration(scenario, mode, memory)
    await every_fault(exploration, most_failures=1)
    assert exploration.failures, breakage


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_every_script_still_holds_what_a_breakage_replaces(breakage: str) -> None:
    source, old, *_ = BREAKAGES[breakage]
    assert any(old in script(verb).text for verb in verbs_of(source))


@pytest.mark.exhaustive
@pytest.mark.parametrize("breakage", BREAKAGES)
async def test_broken_scripts_are_noticed(breakage: str, memory: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_is_noticed(breakage, memory, monkeypatch)


async def test_a_sample_of_broken_scripts_is_noticed(
    memory: MemoryEngine, monkeypatch: pytest.MonkeyPatch, chance: random.Random
) -> None:
    for breakage in chance.sample(sorted(BREAKAGES), SAMPLE):
        await assert_is_noticed(breakage, memory, monkeypatch)
