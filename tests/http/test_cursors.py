"""Cursors that come from no answer: each list says so, and none reaches the store."""

import httpx
import pytest

from shared.access.caller import Role
from shared.operations import OPERATIONS, Operation
from tests.http.calls import problem
from tests.world import AUTH, OPERATOR, World, http_client

WALKS = [one for one in OPERATIONS if "cursor" in getattr(one.body or one.query, "model_fields", {})]
BAD = [
    "", "x", "-1", "+1", " 1", "1.5", "1e3", "0x10", "\u0663", "1\n", "\u0000", "1" * 21, str(2**64), str(10**20 - 1),
    "9" * 3000, "1-", "-", "9" * 16 + "-0", "0-1-2", "0-0", "000-00", "%s", "*", "0\r\nDEL x",
]  # fmt: skip
FROM_SCAN = ("/api/operate/user-limits", "/api/operate/keys", "/api/operate/make-room")
SENT_ON = [one for one in WALKS if one.path in FROM_SCAN]


def named(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


async def ask(client: httpx.AsyncClient, operation: Operation, cursor: str) -> httpx.Response:
    headers = OPERATOR if Role.OPERATOR in operation.roles else AUTH
    if operation.query is not None:
        return await client.get(operation.path, params={"cursor": cursor}, headers=headers)
    body = {"cursor": cursor} | ({} if operation.path in FROM_SCAN else {"all": True, "dry_run": True})
    return await client.request(operation.method, operation.path, json=body, headers=headers)


@pytest.mark.parametrize("operation", WALKS, ids=named)
async def test_a_cursor_of_no_answer_is_refused_by_name_and_not_echoed(world: World, operation: Operation) -> None:
    async with http_client() as client:
        for cursor in BAD:
            answer = await ask(client, operation, cursor)
            document = problem(answer, 422, "invalid_request")
            assert document["field"] == "cursor", cursor
            assert len(cursor.strip()) < 4 or cursor not in answer.text


@pytest.mark.parametrize("operation", SENT_ON, ids=named)
async def test_the_largest_cursor_of_a_scan_is_taken(valkey_world: World, operation: Operation) -> None:
    async with http_client() as client:
        for cursor in ("0", str(2**64 - 1), str(2**63)):
            assert (await ask(client, operation, cursor)).status_code == 200, cursor


@pytest.mark.parametrize("operation", SENT_ON, ids=named)
async def test_a_cursor_of_a_scan_is_refused_in_words(world: World, operation: Operation) -> None:
    async with http_client() as client:
        document = problem(await ask(client, operation, str(2**64)), 422, "invalid_request")
    assert document["detail"] == "must come from an answer to the same request"
