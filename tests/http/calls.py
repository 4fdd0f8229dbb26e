"""Requests of the tests to the functions, and readers for the answers."""

from typing import Any

import httpx

from shared.signing.derived import nonce
from tests.world import AUTH, World

BODY: dict[str, Any] = {"model": "acme/video", "input": {"prompt": "a lighthouse"}, "user_id": "ada"}


async def webhook_url(world: World, job_id: str, attempt: int = 1, *, incarnation: str | None = None) -> str:
    """The URL that the attempt's submission carries; of the job's present incarnation unless one is named."""
    if incarnation is None:
        incarnation = await world.incarnation_of(job_id)
    tied = nonce(world.runtime.settings.signing_key, "replicate", job_id, attempt, incarnation)
    return f"/api/webhook/replicate?job={job_id}&attempt={attempt}&incarnation={incarnation}&nonce={tied}"


async def status_of(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    answer = await client.get(f"/api/status/{job_id}", headers=AUTH)
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


def problem(answer: httpx.Response, http_status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, which must have this status and code."""
    assert answer.status_code == http_status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["code"] == code and document["status"] == http_status
    return document
