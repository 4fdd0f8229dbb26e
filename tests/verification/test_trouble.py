"""Mail that cannot be sent, and a store that does not answer: no try counts, no mail leaves, no code is half used."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.http.calls import problem
from tests.logs import all_logs
from tests.post import Post, post_office
from tests.verification.conftest import PATIENT, SENDER
from tests.world import AUTH, World, http_client, make_world

EMAIL = "ada@example.com"


async def send(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await client.post("/api/verification/send", json={"email": EMAIL, **more})


async def check(client: httpx.AsyncClient, code: str) -> httpx.Response:
    return await client.post("/api/verification/check", json={"email": EMAIL, "code": code})


@pytest.fixture
async def on_valkey(valkey: RunningServer, clock: ManualClock, post: Post) -> AsyncIterator[World]:
    async with make_world(valkey, clock, smtp_url=post.url, mail_from=SENDER, **PATIENT) as made:
        yield made
    valkey.clear_faults()


@pytest.mark.parametrize(
    ("where", "answer", "status", "code"),
    [
        ("to_recipient", "550 No such user", 422, "mail_refused"),
        ("to_recipient", "450 Try later", 503, "mail_deferred"),
        ("to_recipient", "554 Relay denied", 503, "mail_unavailable"),
        ("to_mail", "451 Try later", 503, "mail_unavailable"),
        ("to_mail", "554 Spam", 503, "mail_unavailable"),
    ],
)
async def test_a_mail_that_the_server_refuses_does_not_count(
    world: World, client: httpx.AsyncClient, post: Post, where: str, answer: str, status: int, code: str
) -> None:
    setattr(post, where, answer)
    for _ in range(12):
        problem(await send(client), status, code)
    setattr(post, where, "250 OK")
    assert (await send(client)).status_code == 202
    assert (await check(client, post.code())).status_code == 200


async def test_a_mail_server_that_is_not_there_is_a_503_and_the_log_has_no_address(clock: ManualClock) -> None:
    async with make_world(None, clock, smtp_url="smtp://127.0.0.1:9", mail_from=SENDER), http_client(**AUTH) as client:
        with all_logs() as lines:
            answer = await send(client)
    assert problem(answer, 503, "mail_unavailable")["retryable"] is True
    assert answer.headers["retry-after"] == "10"
    assert "mail_failed" in str(lines) and EMAIL not in str(lines)


async def test_a_mail_that_may_have_been_sent_counts_and_its_code_stays(
    world: World, client: httpx.AsyncClient, post: Post
) -> None:
    post.is_gone = True
    problem(await send(client), 503, "mail_uncertain")
    problem(await send(client), 429, "verification_limited")


async def test_the_code_before_is_valid_after_a_mail_that_was_not_sent(
    world: World, client: httpx.AsyncClient, post: Post
) -> None:
    await send(client)
    world.manual.advance(60)
    post.to_mail = "451 Try later"
    problem(await send(client), 503, "mail_unavailable")
    assert (await check(client, post.code())).status_code == 200


async def test_without_the_store_no_mail_is_sent(on_valkey: World, valkey: RunningServer, post: Post) -> None:
    async with http_client(**AUTH) as client:
        valkey.inject("drop_before", times=-1)
        assert problem(await send(client), 503, "store_uncertain")["retryable"] is True
        valkey.clear_faults()
        assert post.mails == []
        assert (await send(client)).status_code == 202


async def test_a_check_whose_answer_is_lost_once_is_answered_by_its_repeat(
    on_valkey: World, valkey: RunningServer, post: Post
) -> None:
    async with http_client(**AUTH) as client:
        await send(client)
        valkey.inject("apply_then_drop")
        assert (await check(client, post.code())).status_code == 200
        problem(await check(client, post.code()), 422, "code_invalid")


async def test_a_send_whose_answer_is_lost_once_makes_one_code(
    on_valkey: World, valkey: RunningServer, post: Post
) -> None:
    async with http_client(**AUTH) as client:
        valkey.inject("apply_then_drop")
        assert (await send(client)).status_code == 202
        assert len(post.mails) == 1 and (await check(client, post.code())).status_code == 200


async def test_a_send_whose_answers_are_all_lost_takes_its_code_back(
    on_valkey: World, valkey: RunningServer, post: Post
) -> None:
    async with http_client(**AUTH) as client:
        await send(client)
        on_valkey.manual.advance(60)
        valkey.inject("apply_then_drop", times=2)
        problem(await send(client), 503, "store_uncertain")
        assert len(post.mails) == 1
        assert (await check(client, post.code())).status_code == 200
        assert (await send(client)).status_code == 202


async def test_a_check_without_the_store_uses_no_try(on_valkey: World, valkey: RunningServer, post: Post) -> None:
    async with http_client(**AUTH) as client:
        await send(client)
        valkey.inject("drop_before", times=-1)
        for _ in range(6):
            problem(await check(client, "000000"), 503, "store_uncertain")
        valkey.clear_faults()
        assert (await check(client, post.code())).status_code == 200


async def test_a_mail_that_fails_while_the_store_is_away_is_still_a_mail_that_failed(
    on_valkey: World, valkey: RunningServer, post: Post
) -> None:
    post.to_mail = "451 Try later"
    async with http_client(**AUTH) as client:
        real = on_valkey.runtime.verification._codes.release

        async def away(*given: Any, **named: Any) -> None:
            valkey.inject("drop_before", times=-1)
            await real(*given, **named)

        on_valkey.runtime.verification._codes.release = away  # type: ignore[method-assign]
        problem(await send(client), 503, "mail_unavailable")


async def test_one_of_fifty_concurrent_checks_gets_a_proof(world: World, client: httpx.AsyncClient, post: Post) -> None:
    await send(client)
    answers = await asyncio.gather(*(check(client, post.code()) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 49


async def test_a_login_is_made_before_the_mail_and_its_password_is_in_no_log(clock: ManualClock) -> None:
    async with post_office(wants_login=True) as post:
        with all_logs() as lines:
            for password, status in (("pass%3Aword", 202), ("CANARY", 503)):
                url = post.url.replace("//", f"//ada%40acme.dev:{password}@")
                async with make_world(None, clock, smtp_url=url, mail_from=SENDER), http_client(**AUTH) as client:
                    answer = await send(client)
                    assert answer.status_code == status and "CANARY" not in answer.text
    assert set(post.logins) == {("ada@acme.dev", "pass:word"), ("ada@acme.dev", "CANARY")}
    assert "mail_failed" in str(lines) and "CANARY" not in str(lines)
