"""API keys of the store in tests: made over HTTP by the operator, and used as an application does."""

from typing import Any

import httpx

from shared.cache import Cache
from shared.clock import ManualClock
from shared.runtime import Runtime
from tests.world import OPERATOR, World

KEYS = "/api/operate/keys"


def by_clock(runtime: Runtime, clock: ManualClock) -> None:
    """Lets the cache of keys go by the clock of the test."""
    runtime.keys.ring.cache = Cache(1024, clock=lambda: clock.true_now / 1000)


async def made_key(client: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    """A new key as the answer shows it; of the owner ``shop`` by default."""
    answer = await client.post(KEYS, json={"owner": "shop"} | wanted, headers=OPERATOR)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def bearer(made: dict[str, Any]) -> dict[str, str]:
    """The header that proves the key."""
    return {"Authorization": f"Bearer {made['secret']}"}


async def listed(client: httpx.AsyncClient, made: dict[str, Any]) -> int:
    """The status of a list of jobs that is asked for with the key."""
    return (await client.get("/api/jobs", headers=bearer(made))).status_code


async def operate(client: httpx.AsyncClient, method: str, path: str, **body: Any) -> httpx.Response:
    """The operator's answer to an operation on keys."""
    return await client.request(method, f"{KEYS}{path}", headers=OPERATOR, json=body or None)


async def stored(world: World) -> str:
    """All that the store holds of keys and of the audit, as text."""
    keys = world.runtime.queue.keys
    fields = await world.raw("HVALS", keys.api_keys)
    entries = await world.raw("XRANGE", keys.audit, "-", "+")
    return f"{fields}{entries}"
