"""What the doctor costs, with the production clock; the table in DESIGN says the same."""

from local.rest_server.running import RunningServer
from shared.clock import SystemClock
from tests.costs import COSTS
from tests.world import OPERATOR, World, http_client, make_world

LOOK, ALL = "doctor's look at three waiting jobs of three users", "doctor with all checks, the same jobs"


async def bill_of(server: RunningServer, query: str) -> tuple[int, int]:
    async with http_client(**OPERATOR) as operator:
        await operator.get(f"/api/operate/doctor{query}")  # from now on the store knows the scripts
        server.reset_bill()
        assert (await operator.get(f"/api/operate/doctor{query}")).status_code == 200
    bill = server.bill()
    return bill.calls, bill.billed


async def enqueue(world: World, jobs: int) -> None:
    for number in range(jobs):
        await world.enqueue(f"u{number}")


async def test_the_table_has_what_the_doctor_costs(valkey: RunningServer) -> None:
    async with make_world(valkey, SystemClock()) as world:
        await enqueue(world, 3)
        counted = {LOOK: await bill_of(valkey, "?only=queue"), ALL: await bill_of(valkey, "")}
    assert counted == {name: COSTS[name] for name in counted}


async def test_each_further_job_costs_six_commands_with_its_user(valkey: RunningServer) -> None:
    """Four for the job, and two for a user's set with one member."""
    async with make_world(valkey, SystemClock()) as world:
        await enqueue(world, 60)
        _, commands = await bill_of(valkey, "?only=queue")
    assert commands <= COSTS[LOOK][1] + 57 * 6 + 10  # a call more for each twenty users
