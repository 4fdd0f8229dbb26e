"""Requests that two readers could read in two ways: each is refused, and the place is named."""

from typing import Any

import httpx
import pytest

from tests.http.calls import BODY, problem
from tests.world import AUTH, OPERATOR, OTHER_AUTH, World, http_client


async def test_two_credentials_are_refused(world: World) -> None:
    first, second = AUTH["Authorization"], OTHER_AUTH["Authorization"]
    async with http_client() as client:
        for given in ((first, second), (second, first), (first, first)):
            answer = await client.get("/api/jobs", headers=[("Authorization", one) for one in given])
            assert problem(answer, 401, "unauthenticated")["field"] == "Authorization"


async def test_two_idempotency_keys_are_refused(world: World) -> None:
    headers = [*AUTH.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    async with http_client() as client:
        answer = await client.post("/api/submit", json=BODY, headers=headers)
    assert problem(answer, 422, "invalid_request")["field"] == "Idempotency-Key"


@pytest.mark.parametrize("name", ["file", "from"])
async def test_a_parameter_of_a_result_is_given_once(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/api/jobs/job_1/result?{name}=0&{name}=1")
    assert problem(answer, 422, "invalid_request")["field"] == name


async def test_a_number_of_too_many_digits_is_named_as_that(client: httpx.AsyncClient) -> None:
    content = b'{"limit": ' + b"9" * 5000 + b"}"
    headers = OPERATOR | {"Content-Type": "application/json"}
    answer = await client.post("/api/operate/cancel", content=content, headers=headers)
    assert "digits" in problem(answer, 400, "invalid_request")["detail"]


async def test_a_user_is_limited_once_in_a_change(client: httpx.AsyncClient) -> None:
    users: list[dict[str, Any]] = [{"key": "app", "user_id": "ada", "concurrency": n} for n in (1, 2)]
    answer = await client.patch("/api/operate/limits", json={"users": users}, headers=OPERATOR)
    assert problem(answer, 422, "invalid_request")["field"] == "users"


async def test_an_entry_is_blocked_or_unblocked(client: httpx.AsyncClient) -> None:
    change = {"add": ["spam.example", "x.dev"], "remove": ["spam.example"]}
    answer = await client.patch("/api/operate/blocked", json=change, headers=OPERATOR)
    assert problem(answer, 422, "invalid_request")["field"] == "remove"


async def test_a_scope_that_is_asked_for_twice_is_given_once(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/tokens", json={"user_id": "ada", "scopes": ["read", "read"]})
    assert answer.json()["scopes"] == ["read"]


async def test_a_client_address_has_no_zone(client: httpx.AsyncClient) -> None:
    asked = {"email": "ada@example.com", "client_address": "fe80::1%z1"}
    answer = await client.post("/api/verification/send", json=asked)
    assert problem(answer, 422, "invalid_request")["field"] == "client_address"
