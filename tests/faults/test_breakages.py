"""Single faults find each deliberate bug in the scripts: a proof that misses bugs proves nothing."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.jobqueue.script import FOLDER, script
from tests.faults.breakages import BREAKAGES
from tests.faults.engines import MemoryEngine
from tests.faults.enumeration import every_fault, every_stop
from tests.faults.exploration import Exploration

SAMPLE = 5
pytestmark = pytest.mark.timeout(600)  # some bugs are noticed by the last faults only


async def assert_is_noticed(breakage: str, memory: MemoryEngine, patched: pytest.MonkeyPatch, folder: Path) -> None:
    edit, scenario, mode = BREAKAGES[breakage]
    shutil.copytree(FOLDER, folder)
    broken = folder / Path(edit.file).name
    broken.write_text(edit.applied_to(broken.read_text()))
    patched.setattr("shared.jobqueue.script.FOLDER", folder)
    script.cache_clear()
    exploration = Exploration(scenario, mode, memory)
    await every_stop(exploration, max_failures=1)
    await every_fault(exploration, max_failures=1)
    assert exploration.failures, breakage


@pytest.fixture(autouse=True)
def loaded_anew() -> Iterator[None]:
    """Other tests load the real scripts again."""
    yield
    script.cache_clear()


@pytest.mark.exhaustive
@pytest.mark.parametrize("breakage", BREAKAGES)
async def test_broken_scripts_are_noticed(
    breakage: str, memory: MemoryEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await assert_is_noticed(breakage, memory, monkeypatch, tmp_path / "scripts")


async def test_a_sample_of_broken_scripts_is_noticed(
    memory: MemoryEngine, monkeypatch: pytest.MonkeyPatch, chance: random.Random, tmp_path: Path
) -> None:
    for number, breakage in enumerate(chance.sample(sorted(BREAKAGES), SAMPLE)):
        await assert_is_noticed(breakage, memory, monkeypatch, tmp_path / str(number))
