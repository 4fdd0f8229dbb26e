"""Each planted fault is found with its subject and healed, and the invariants hold again; a healthy system has none."""

import httpx
import pytest

from tests.doctor.plants import PLANTS, Plant
from tests.doctor.ward import admit, contradictions, fix, found_in, look
from tests.world import World


async def test_a_busy_system_in_order_has_no_finding(world: World, operator: httpx.AsyncClient) -> None:
    await admit(world)
    assert await contradictions(world) == []
    report = await look(operator)
    assert (report["status"], report["found"], report["next_cursor"]) == ("well", 0, None)
    (check,) = report["checks"]
    assert check["findings"] == [] and check["figures"]["jobs"] == 9 and check["figures"]["batches"] == 1


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
async def test_a_planted_fault_is_found_and_healed(plant: Plant, world: World, operator: httpx.AsyncClient) -> None:
    ward = await admit(world)
    planted = await plant(world, ward)
    report = await look(operator)
    assert found_in(report) == planted
    assert {found["healed"] for check in report["checks"] for found in check["findings"]} == {None}
    assert found_in(await look(operator)) == planted, "a look has changed something"
    fixed = await fix(operator)
    assert found_in(fixed) == planted and fixed["healed"] == len(planted)
    assert found_in(await look(operator)) == set()
    assert await contradictions(world) == []
