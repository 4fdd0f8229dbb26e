"""Answers that Lambda or Vercel would refuse."""

import json
from collections.abc import AsyncIterator
from urllib.parse import urljoin

import httpx
import pytest

from shared.clock import ManualClock
from shared.dispatch.reconciler import MAX_OUTPUT
from shared.documents.cutting import LAMBDA, PIECE, VERCEL, cut_page, has_room
from shared.json_value import Json
from shared.providers.base import Prediction
from tests.world import AUTH, World, http_client, make_world

QUOTES = '"' * (MAX_OUTPUT // 2 - 100)  # as JSON almost 4 MB, and each quotation mark four bytes as Lambda counts
PLATFORMS = {"AWS_LAMBDA_FUNCTION_NAME": "status", "VERCEL": "1"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with make_world(None, ManualClock()) as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made


async def completed(world: World, client: httpx.AsyncClient, output: Json) -> str:
    """Returns the id of a job that ended with this output."""
    body = {"model": "acme/text", "input": {}, "user_id": "ada"}
    job_id: str = (await client.post("/api/submit", json=body)).json()["id"]
    prediction = next(reversed(world.provider.states))
    world.provider.states[prediction] = Prediction(prediction, "completed", output=output)
    world.manual.advance(60)
    await world.runtime.tick.run()
    return job_id


def as_lambda_counts(answer: httpx.Response) -> int:
    """Returns the bytes of the document that a function returns to Lambda, without its headers."""
    return len(json.dumps({"statusCode": 200, "body": answer.text, "isBase64Encoded": False}))


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_a_status_that_is_too_large_has_a_link_to_its_output_in_pieces(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    output: Json = {"text": QUOTES} if platform != "VERCEL" else {"text": QUOTES, "more": "x" * 100}
    job_id = await completed(world, client, output)
    whole = await client.get(f"/api/status/{job_id}")
    assert whole.json()["output"] == output and "output_link" not in whole.json()
    monkeypatch.setenv(platform, PLATFORMS[platform])
    world.runtime.cache.forget_all("")
    if platform == "VERCEL":
        monkeypatch.setattr("shared.documents.cutting.VERCEL", 3_900_000)
    cut = await client.get(f"/api/status/{job_id}")
    assert (cut.status_code, cut.json()["output"]) == (200, None)
    assert cut.json() == {**whole.json(), "output": None, "output_link": f"/api/jobs/{job_id}/result?from=0"}
    assert cut.headers["etag"] == whole.headers["etag"]
    text, link, pieces = "", cut.json()["output_link"], []
    while link:
        piece = await client.get(link)
        assert piece.status_code == 200 and as_lambda_counts(piece) <= LAMBDA - 1000
        pieces.append(piece.json()["text"])
        link = piece.json()["next"]
    text = "".join(pieces)
    assert json.loads(text) == output and len(pieces) == -(-len(text) // PIECE)


async def test_a_result_that_is_too_large_leads_to_its_first_piece(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await completed(world, client, QUOTES)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "jobs")
    answer = await client.get(f"/api/jobs/{job_id}/result")
    for before in ("", "/prod"):  # the name of a stage on AWS
        found = urljoin(f"https://sluice.test{before}{answer.request.url.path}?x", answer.headers["location"])
        assert (answer.status_code, found) == (303, f"https://sluice.test{before}/api/jobs/{job_id}/result?from=0")
    beyond = await client.get(f"/api/jobs/{job_id}/result?from=999999999")
    assert beyond.json() == {"text": "", "next": None}
    assert (await client.get(f"/api/jobs/{job_id}/result?from=x")).status_code == 422


async def test_pieces_of_an_output_that_changes_between_them_are_not_joined(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are stored meanwhile, so URLs in it are longer."""
    film = "https://replicate.delivery/xezq/a.mp4"
    before: dict[str, Json] = {"film": film, "text": "".join(f"{n:08d}" for n in range(150_000))}
    job_id = await completed(world, client, before)
    first = (await client.get(f"/api/jobs/{job_id}/result?from=0")).json()
    second = (await client.get(first["next"])).json()
    assert json.loads(first["text"] + second["text"]) == before and second["next"] is None
    after = json.dumps(before | {"film": f"{film}?X-Amz-Signature={'a' * 64}"}, separators=(",", ":"))
    await world.raw("HSET", world.runtime.queue.keys.job(job_id), "output", after)
    world.runtime.cache.forget_all("")
    answer = await client.get(first["next"])
    assert (answer.status_code, answer.json()["code"]) == (409, "output_changed")
    again = (await client.get(f"/api/jobs/{job_id}/result?from=0")).json()
    assert json.loads(again["text"] + (await client.get(again["next"])).json()["text"]) == json.loads(after)


async def test_a_page_of_a_batch_that_is_too_large_has_a_link_for_its_large_output(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"user_id": "ada", "model": "acme/text", "jobs": [{"input": {}}, {"input": {}}]}
    batch = (await client.post("/api/batches", json=wanted)).json()
    outputs = dict(zip(world.provider.states, (QUOTES, "short"), strict=True))
    for prediction, output in outputs.items():
        world.provider.states[prediction] = Prediction(prediction, "completed", output=output)
    world.manual.advance(60)
    await world.runtime.tick.run()
    by_number = {job["number"]: job["id"] for job in batch["jobs"]}
    large = int(await output_at(client, batch["id"], 0) == "short")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "batches")
    answer = await client.get(f"/api/batches/{batch['id']}?first={large}&count=1")
    assert answer.status_code == 200 and as_lambda_counts(answer) <= LAMBDA
    (result,) = answer.json()["results"]
    assert result["output"] is None and result["output_link"] == f"/api/jobs/{by_number[large]}/result?from=0"
    assert await output_at(client, batch["id"], 1 - large) == "short"


async def test_a_page_of_a_batch_with_very_many_files_is_shorter(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"user_id": "ada", "model": "acme/text", "jobs": [{"input": {}}] * 4}
    batch = (await client.post("/api/batches", json=wanted)).json()
    whole = (await client.get(f"/api/batches/{batch['id']}?count=4")).json()
    for result in whole["results"]:
        result["files"] = [{"url": f"https://films.acme.dev/{'x' * 2000}"}] * 900
    assert has_room(json.dumps(whole["results"][:3]).encode(), PLATFORMS)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "batches")
    body = cut_page(whole)
    assert has_room(body)
    cut = json.loads(body)
    assert cut["next_first"] == 2 and cut == {**whole, "results": whole["results"][:2], "next_first": 2}


async def output_at(client: httpx.AsyncClient, batch_id: str, number: int) -> str:
    (result,) = (await client.get(f"/api/batches/{batch_id}?first={number}&count=1")).json()["results"]
    output: str = result["output"]
    return output


def test_elsewhere_an_answer_may_have_any_size() -> None:
    body = b'"' * LAMBDA
    assert has_room(body, {}) and not has_room(body, {"AWS_LAMBDA_FUNCTION_NAME": "x"})
    assert not has_room(body, {"VERCEL": "1"}) and has_room(b"x" * (VERCEL - 65_536), {"VERCEL": "1"})
