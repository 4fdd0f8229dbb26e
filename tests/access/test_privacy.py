"""One user's jobs, files, inputs and events never appear to another, whatever is sent."""

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.clock import ManualClock
from shared.providers.base import Prediction
from tests.access.issuing import TAKES_JWTS, bearer, issued, user_of
from tests.http.calls import webhook_url
from tests.world import AUTH, World, http_client, make_world

MARK = "only-of-ada"
ORDER = {"model": "acme/video", "input": {"prompt": MARK}, "metadata": {"note": MARK}}
BATCH = {"model": "acme/video", "metadata": {"note": MARK}, "jobs": [{"input": {"prompt": MARK}}] * 2}
PATHS = (
    ("GET", "/api/status/{}"), ("GET", "/api/jobs/{}/result"), ("GET", "/api/jobs/{}/result?from=0"),
    ("GET", "/api/jobs/{}/result?file=0"), ("POST", "/api/jobs/{}/cancel"), ("GET", "/api/jobs/{}/deliveries"),
    ("POST", "/api/jobs/{}/redeliver"), ("POST", "/api/jobs/{}/retry"), ("PATCH", "/api/jobs/{}"),
    ("DELETE", "/api/jobs/{}"), ("GET", "/api/batches/{}?count=50"), ("GET", "/api/batches/{}"),
    ("POST", "/api/batches/{}/cancel"), ("POST", "/api/batches/{}/retry"), ("GET", "/api/batches/{}/deliveries"),
    ("GET", "/api/jobs?batch_id={}"), ("GET", "/api/jobs?cursor={}"), ("GET", "/api/jobs?user_id=ada&cursor={}"),
    ("GET", "/api/jobs?user_id={}"), ("GET", "/api/jobs?limit=1&cursor={}"), ("GET", "/api/hooks"),
    ("GET", "/api/files/{}"), ("DELETE", "/api/users?user_id=ada"),
)  # fmt: skip
# method and path, which id, what follows it, which ETag, whether it is sent, the credential, an Idempotency-Key
Call = tuple[tuple[str, str], int, str, int, bool, str, str]
CALLS = st.lists(
    st.tuples(
        st.sampled_from(PATHS), st.integers(0, 99), st.sampled_from(("", "_0", "_1", "r1", "%00", " ", "x")),
        st.integers(0, 99), st.booleans(), st.sampled_from(("minted", "issued", "of one job", "of one batch")),
        st.sampled_from(("", "same key")),
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


async def filled(world: World, client: httpx.AsyncClient) -> tuple[list[str], list[str]]:
    """Ada's jobs, of which one is completed and one runs, and a batch; returns the ids, cursors and ETags of hers."""
    ada = await user_of(client)
    key = {"Idempotency-Key": "same key"}
    done = (await client.post("/api/submit", json=ORDER, headers=ada | key)).json()["id"]
    prediction = (await world.runtime.records.read(done)).prediction
    output = [f"https://replicate.delivery/{MARK}.mp4", MARK]
    world.provider.states[prediction] = Prediction(prediction, "completed", output=output)
    await client.post(await webhook_url(world, done), content=prediction)
    other = (await client.post("/api/submit", json=ORDER, headers=ada)).json()["id"]
    batch = (await client.post("/api/batches", json=BATCH, headers=ada)).json()["id"]
    page = await client.get("/api/jobs?limit=1", headers=ada)
    of_key = await client.get("/api/jobs?limit=1", headers=AUTH)
    shown = await client.get(f"/api/status/{done}", headers=ada)  # and it is in the cache now
    assert MARK in shown.text and MARK in (await client.get(f"/api/batches/{batch}", headers=AUTH)).text
    cursors = [page.json()["next_cursor"], of_key.json()["next_cursor"]]
    return [done, other, batch, *cursors, "ada"], [shown.headers["etag"], "*", 'W/"n1.1-x"']


async def unharmed(client: httpx.AsyncClient, known: list[str]) -> None:
    for job in known[:2]:
        assert (await client.get(f"/api/status/{job}", headers=AUTH)).json()["status"] in ("completed", "processing")


async def ask_as_bob(calls: list[Call]) -> None:
    changes: dict[str, Any] = {"storage_url": "memory://privacy", "status_cache_ttl": 2.0, **TAKES_JWTS}
    async with make_world(None, ManualClock(), **changes) as world, http_client() as client:
        known, etags = await filled(world, client)
        bob = await user_of(client, "bob")
        tokens = {
            "minted": bob,
            "issued": bearer(issued(sub="bob")),
            "of one job": await user_of(client, "bob", scopes=["read", "cancel"], job_id=known[0]),
            "of one batch": await user_of(client, "bob", scopes=["read", "cancel"], batch_id=known[2]),
        }
        for (method, path), which, suffix, tag, has_etag, credential, key in calls:
            headers = tokens[credential] | ({"If-None-Match": etags[tag % len(etags)]} if has_etag else {})
            if key:
                headers |= {"Idempotency-Key": key}
                own = {"model": "acme/video", "input": {"prompt": "of bob"}}
                submitted = await client.post("/api/submit", json=own, headers=bob | headers)
                assert MARK not in submitted.text and submitted.json().get("id") not in known
            target = path.format(known[which % len(known)] + suffix)
            answer = await client.request(method, target, headers=headers, json={} if method != "GET" else None)
            assert MARK not in answer.text and MARK not in str(answer.headers), (method, target)
            assert answer.status_code != 304 and answer.status_code < 500, (method, target)
            assert "etag" not in answer.headers
        await unharmed(client, known)


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(PATIENT, max_examples=12)
@given(CALLS)
def test_nothing_of_one_user_appears_to_another(calls: list[Call]) -> None:
    asyncio.run(ask_as_bob(calls))


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
@settings(PATIENT, max_examples=60)
@given(CALLS)
def test_nothing_of_one_user_appears_to_another_in_many_more_calls(calls: list[Call]) -> None:
    asyncio.run(ask_as_bob(calls))
