"""The result of a job over HTTP."""

import httpx
import pytest

from shared.errors import StorageUnavailable
from shared.operations import OPERATIONS
from shared.storage.bucket import Bucket
from tests.http.calls import problem
from tests.http.erasure.jobs import FILM, document, stored
from tests.receiver import Receiver
from tests.world import OTHER_AUTH, World


async def test_a_result_leads_to_our_own_copy(world: World, client: httpx.AsyncClient, source: Receiver) -> None:
    job_id = await stored(world, [source.url("/a"), {"more": source.url("/b")}])
    shown = await document(world, client, job_id)
    assert [file["state"] for file in shown["files"]] == ["stored"] * 2
    answer = await client.get(f"/api/jobs/{job_id}/result")
    assert answer.status_code == 303 and answer.headers["location"] == shown["files"][0]["url"] == shown["output"][0]
    assert answer.headers["location"].startswith("/api/files/results/")
    assert (await client.get(answer.headers["location"])).content == FILM
    second = await client.get(f"/api/jobs/{job_id}/result?file=1")
    assert second.headers["location"] == shown["files"][1]["url"] == shown["output"][1]["more"]
    problem(await client.get(f"/api/jobs/{job_id}/result?file=2"), 404, "no_such_file")
    for bad in ("-1", "x", "", "1.0", "9" * 9, "\u0661"):
        answer = await client.get(f"/api/jobs/{job_id}/result", params={"file": bad})
        assert problem(answer, 422, "invalid_request")["field"] == "file"
    problem(await client.get(f"/api/jobs/{job_id}/result?file=0", headers=OTHER_AUTH), 404, "job_not_found")


async def test_only_our_own_copies_may_be_paths(world: World, client: httpx.AsyncClient, source: Receiver) -> None:
    """A path in a provider's output is not a file of the job."""
    job_id = await stored(world, ["/api/files/results/x", "//example.org/x", source.url("/a")])
    location = (await client.get(f"/api/jobs/{job_id}/result")).headers["location"]
    assert location == (await document(world, client, job_id))["files"][0]["url"]
    other = await stored(world, "/api/files/results/x")
    answer = await client.get(f"/api/jobs/{other}/result")
    assert (answer.status_code, answer.json()) == (200, {"output": "/api/files/results/x"})


async def test_urls_that_cannot_be_signed_are_a_503_that_each_such_call_announces(
    world: World, client: httpx.AsyncClient, source: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys of a role come from an address, which may not answer."""
    job_id = await stored(world, source.url("/a"))
    batch = {"user_id": "bob", "model": "acme/video", "jobs": [{"input": {}}]}
    batch_id = (await client.post("/api/batches", json=batch)).json()["id"]

    def unsigned(*_: object, **__: object) -> str:
        raise StorageUnavailable

    monkeypatch.setattr(Bucket, "url", unsigned)
    for path in (f"/api/status/{job_id}", f"/api/jobs/{job_id}/result"):
        answer = await client.get(path)
        assert problem(answer, 503, "storage_unavailable")["retryable"] is True and answer.headers["retry-after"]
    upload = {"user_id": "ada", "content_type": "image/png", "size": 5}
    problem(await client.post("/api/uploads", json=upload), 503, "storage_unavailable")
    assert (await client.get(f"/api/batches/{batch_id}")).status_code == 200  # none of its jobs has a file yet
    of_batches = next(one for one in OPERATIONS if (one.method, one.path) == ("GET", "/api/batches/{batch_id}"))
    assert StorageUnavailable in of_batches.refuses_with
