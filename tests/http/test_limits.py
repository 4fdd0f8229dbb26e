"""Live limits over HTTP: pause, resume and override without a deploy, and how they are shown."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock, iso
from shared.providers.base import Throttled, Unknown
from tests.http.history import end
from tests.queue.providers import open_circuit
from tests.world import AUTH, OPERATOR, PROCESSOR, World, http_client, make_world

LIMITS = "/api/operate/limits"
CASES: list[tuple[dict[str, Any], int]] = [
    ({"system": 2}, 2),
    ({"queues": {"video": 1}}, 1),
    ({"providers": {"replicate": 1}}, 1),
    ({"system": 0}, 0),
    ({"queues": {"video": 0}}, 0),
    ({"providers": {"replicate": 0}}, 0),
    ({"users": [{"key": "app", "user_id": "user0", "concurrency": 0}]}, 4),
    ({"system": 6}, 6),
]


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made


async def patch(client: httpx.AsyncClient, **change: Any) -> dict[str, Any]:
    answer = await client.patch(LIMITS, json=change)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def lifted(change: dict[str, Any]) -> dict[str, Any]:
    """The same change with null for every limit."""
    if "users" in change:
        return {"users": [{**user, "concurrency": None} for user in change["users"]]}
    return {name: None if isinstance(value, int) else dict.fromkeys(value) for name, value in change.items()}


@pytest.mark.parametrize("change", [change for change, starts in CASES if starts in (0, 4)])
async def test_a_copy_of_a_change_that_comes_after_a_later_one_changes_nothing(
    any_store: RunningServer | None, clock: ManualClock, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection may hold a call back until its repeat was answered, and the limit was lifted."""
    async with make_world(any_store, clock) as world, http_client(**OPERATOR) as client:
        store, sent = world.runtime.store, []
        execute = store.execute

        async def noted(*command: str) -> Any:
            sent.append(command)
            return await execute(*command)

        with monkeypatch.context() as patched:
            patched.setattr(store, "execute", noted)
            await patch(client, **change)
        scripts = [command for command in sent if command[0] == "EVAL" and "limits_mark" in command[1]]
        (held_back,) = [command for command in scripts if command[-2:] != ("0", "0")]  # that is only a look
        await execute(*held_back)  # its repeat, which is answered
        shown = await patch(client, **lifted(change))
        await execute(*held_back)
        assert await patch(client) == shown
        job_id = await world.enqueue("user0", start=True)
        assert (await world.runtime.records.read(job_id)).state == "submitting"


@pytest.mark.parametrize(("change", "starts"), CASES)
async def test_a_live_limit_holds_at_once_and_lifting_it_starts_what_waited(
    any_store: RunningServer | None, clock: ManualClock, change: dict[str, Any], starts: int
) -> None:
    changes: dict[str, Any] = {"max_concurrent_tasks": 5, "queue_concurrency": 7}
    async with make_world(any_store, clock, **changes) as world, http_client(**OPERATOR) as client:
        jobs = [await world.enqueue(f"user{n}") for n in range(5)]
        await patch(client, **change)
        running = [job for job in jobs if (await world.runtime.records.read(job)).state == "running"]
        assert len(running) == min(starts, 5)
        await patch(client, **lifted(change))
        assert {(await world.runtime.records.read(job)).state for job in jobs} == {"running"}


async def test_limits_are_shown_as_configured_and_as_set(client: httpx.AsyncClient) -> None:
    await patch(client, system=9, queues={"video": 0, "storyboard": 2}, providers={"replicate": 4})
    shown = (await client.get(LIMITS)).json()
    assert shown["system"] == {"concurrency": 9, "configured": 5, "paused": False}
    assert shown["queues"]["video"] == {"concurrency": 0, "configured": 5, "paused": True}
    assert shown["queues"]["storyboard"]["concurrency"] == 2
    replicate = {"concurrency": 4, "configured": 5, "paused": False, "creates_per_minute": 540, "paused_until": None}
    assert shown["providers"]["replicate"] == replicate | {"pause": None}
    assert (await client.get("/api/process-queue", headers=PROCESSOR)).json()["limits"] == shown


async def test_a_pause_is_shown_with_its_reason_and_lifted(world: World, client: httpx.AsyncClient) -> None:
    world.provider.outcomes = [Throttled("provider_auth", 60, 403)]
    await world.enqueue("ada", model="acme/forbidden")
    await world.runtime.dispatcher.run(Budget(60))
    other, now = await world.enqueue("bob"), iso(world.manual.true_now)
    shown = (await client.get("/api/process-queue", headers=PROCESSOR)).json()["limits"]["providers"]["replicate"]
    assert shown["paused_until"] > now
    assert shown["pause"] == {
        "since": now,
        "code": "provider_auth",
        "status": 403,
        "refused_at": now,
        "refusals": 1,
        "models": ["acme/forbidden"],
    }
    assert (await patch(client, resume=["replicate"]))["providers"]["replicate"]["pause"] is None
    assert (await world.runtime.records.read(other)).state == "running"


async def test_a_pause_is_probed_early_by_one_job_and_stands_if_the_provider_still_refuses(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, dispatch_on_submit=False) as world, http_client(**OPERATOR) as client:
        world.provider.outcomes = [Throttled("provider_auth", 60, 403)] * 2
        await world.enqueue("ada", model="acme/ada")
        await world.runtime.dispatcher.run(Budget(60))
        others = [await world.enqueue(user, model=f"acme/{user}") for user in ("bob", "carl", "dora")]
        provider = {"provider": "replicate"}
        await patch(client, probe=[provider])
        shown = (await patch(client))["providers"]["replicate"]
        assert len(world.provider.created) == 2 and shown["paused_until"] > iso(world.manual.true_now)
        assert shown["pause"]["refusals"] == 2
        await patch(client, probe=[provider])
        assert (await patch(client))["providers"]["replicate"]["pause"] is None
        states = [(await world.runtime.records.read(job)).state for job in others]
        assert sorted(states) == ["delayed", "running", "running"]
        answer = await client.patch(LIMITS, json={"probe": [provider]})
        assert (answer.status_code, answer.json()["field"]) == (422, "probe")


async def test_an_open_circuit_is_probed_early_by_one_job_and_a_success_closes_it(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, dispatch_on_submit=False) as world, http_client(**OPERATOR) as client:
        await open_circuit(world)
        circuit = {"provider": "replicate", "model": "acme/video"}
        (shown,) = (await client.get(LIMITS)).json()["circuits"]
        assert shown["open_until"] > iso(world.manual.true_now)
        jobs = [await world.enqueue(user) for user in ("ada", "bob")]
        world.provider.outcomes = [Unknown("status 503")]
        now = iso(world.manual.true_now)
        assert (await patch(client, probe=[circuit]))["circuits"] == [shown | {"open_until": now}]
        # The probe got no answer, so the other job is the next one.
        assert [made.job_id for made in world.provider.created] == jobs[:1]
        world.manual.advance(world.runtime.settings.check_interval)
        await world.runtime.dispatcher.run(Budget(60))
        assert [made.job_id for made in world.provider.created] == jobs
        await end(world, jobs[1])
        assert (await client.get(LIMITS)).json()["circuits"] == []
        answer = await client.patch(LIMITS, json={"probe": [circuit]})
        assert (answer.status_code, answer.json()["field"]) == (422, "probe")


async def test_a_users_own_circuit_is_probed_early_and_an_over_one_is_not_put_off(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock) as world, http_client(**OPERATOR) as client:
        over = world.manual.true_now - 5000
        await world.runtime.controls.set_gates({
            "~o0:acme/video|7": over + 60_000, "~o0:acme/video|8": over, "~o0:acme/videos": over + 60_000,
        })  # fmt: skip
        await patch(client, probe=[{"provider": "replicate", "model": "acme/video"}])
        gates = (await world.runtime.records.stats()).gates
        assert gates == {
            "~o0:acme/video|7": world.manual.true_now, "~o0:acme/video|8": over, "~o0:acme/videos": over + 60_000,
        }  # fmt: skip


async def test_a_limit_that_is_not_named_stays(client: httpx.AsyncClient) -> None:
    await patch(client, system=9)
    shown = await patch(client, queues={"video": 1})
    assert (shown["system"]["concurrency"], shown["queues"]["video"]["concurrency"]) == (9, 1)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"queues": {"nowhere": 1}}, "queues"),
        ({"providers": {"unknown": 1}}, "providers"),
        ({"resume": ["unknown"]}, "resume"),
        ({"probe": [{"provider": "replicate"}]}, "probe"),
        ({"probe": [{"provider": "unknown", "model": "acme/video"}]}, "probe"),
        ({"probe": [{"provider": "replicate", "model": "acme/video"}]}, "probe"),
        ({"probe": [{"provider": "replicate", "model": "no model"}]}, "probe[0].model"),
        ({"system": -1}, "system"),
        ({"system": 1001}, "system"),
        ({"system": True}, "system"),
        ({"users": [{"key": "app"}]}, "users[0].user_id"),
        ({"users": [{"key": "nobody", "user_id": "x", "concurrency": 1}]}, "users"),
        ({"users": [{"key": "a:b", "user_id": "x", "concurrency": 1}]}, "users[0].key"),
        ({"users": ["app"]}, "users[0]"),
        ({"users": [{"key": "app", "user_id": "x", "concurrency": 1}] * 21}, "users"),
        ({"circuit": 1}, "circuit"),
    ],
)
async def test_a_limit_that_cannot_be_is_refused_by_name(
    world: World, client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    answer = await client.patch(LIMITS, json=change)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert (await world.runtime.records.stats()).gates == {}


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("headers", [{}, AUTH, PROCESSOR, {"Authorization": "Bearer "}])
async def test_only_the_operator_may(world: World, method: str, headers: dict[str, str]) -> None:
    async with http_client(**headers) as client:
        assert (await client.request(method, LIMITS, json={"system": 0})).status_code == 401
    assert (await world.runtime.records.stats()).gates == {}


async def test_without_an_operators_token_every_caller_is_refused(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, operator_token=None) as _, http_client(**OPERATOR) as client:
        assert (await client.get(LIMITS)).status_code == 401


async def test_a_priority_can_be_changed_while_a_job_waits_and_by_its_owner_only(world: World) -> None:
    first, second = [await world.enqueue(user) for user in ("ada", "bob")]
    async with http_client(**AUTH) as client:
        answer = await client.patch(f"/api/jobs/{second}", json={"priority": 5})
        assert (answer.status_code, answer.json()["priority"]) == (200, 5)
        started = [job.id for job in (await world.runtime.queue.claim(1)).started]
        assert started == [second]
        late = await client.patch(f"/api/jobs/{second}", json={"priority": 1})
        assert (late.status_code, late.json()["code"]) == (409, "not_waiting")
        assert (await client.patch(f"/api/jobs/{first}", json={"priority": 9})).json()["field"] == "priority"
        stranger = {"Authorization": "Bearer key-of-another-app-in-tests"}
        assert (await client.patch(f"/api/jobs/{first}", json={"priority": 5}, headers=stranger)).status_code == 404


async def test_the_operator_may_read_the_statistics(world: World, client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/process-queue")).status_code == 200
    assert (await client.post("/api/process-queue")).status_code == 401
