"""Ends of jobs as mails: a hook whose URL is mailto:, through a real SMTP server."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.hooks.mailing import destination_of
from tests.hooks.deliveries import completed, delivery_of, drain, left, run, running
from tests.http.calls import BODY, problem
from tests.mail.pages import elements_of
from tests.post import Post, post_office, text_of
from tests.world import AUTH, World, http_client, make_world

URL = "mailto:ada@example.com"
MAIL = {"mail_from": "Acme <no-reply@acme.dev>", "verification_blocked": "spam.dev"}


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    async with post_office() as made:
        yield made


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock, post: Post) -> AsyncIterator[World]:
    async with make_world(any_store, clock, smtp_url=post.url, **MAIL) as made:
        yield made


async def test_a_user_gets_one_mail_when_the_job_has_completed(world: World, post: Post) -> None:
    metadata = {"title": "A <b>lighthouse</b>", "link": "https://acme.dev/films/7?a=1&b=2"}
    job_id = await completed(world, URL, metadata=metadata)
    await drain(world)
    await run(world)
    (mail,) = post.mails
    assert mail["To"] == "ada@example.com" and mail["Subject"] == "Your job is done: A <b>lighthouse</b>"
    assert text_of(mail).split("\n\n") == ["Your job is done.", metadata["title"], metadata["link"] + "\n"]
    assert elements_of(text_of(mail, "html")).count("b") == 0
    assert 'href="https://acme.dev/films/7?a=1&amp;b=2"' in text_of(mail, "html")
    record = await delivery_of(world, job_id)
    assert (record.state, record.tries, json.loads(record.entries[0])["status"]) == ("delivered", 1, 250)
    assert await left(world) == 0


@pytest.mark.parametrize("link", ["javascript:alert(1)", "http://acme.dev", "https://acme.dev/a b", "https://é.dev"])
async def test_a_link_that_is_no_https_url_is_left_out(world: World, post: Post, link: str) -> None:
    await completed(world, f"{URL}?language=zh", metadata={"link": link})
    await drain(world)
    assert text_of(post.mails[0]) == "您的任务已完成。\n" and link not in text_of(post.mails[0], "html")


async def test_a_mail_that_cannot_be_sent_is_tried_again_under_its_id(world: World, post: Post) -> None:
    post.to_mail = "451 Try later"
    job_id = await completed(world, URL)
    await drain(world)
    assert (await delivery_of(world, job_id)).state == "pending"
    post.to_mail = "250 OK"
    world.manual.advance(60)
    await run(world)
    record = await delivery_of(world, job_id)
    assert (record.state, record.tries) == ("delivered", 2)
    assert [json.loads(entry)["error"] for entry in record.entries] == ["mail_unavailable", None]
    assert post.mails[0]["Message-ID"].startswith("<evt_")


async def test_a_mailbox_that_does_not_exist_gets_nothing_more(world: World, post: Post) -> None:
    post.to_recipient = "550 No such user"
    job_id = await completed(world, URL)
    await drain(world)
    assert (await delivery_of(world, job_id)).state == "disabled"
    post.to_recipient = "250 OK"
    await completed(world, "mailto:bob@example.com")
    await drain(world)
    assert post.recipients == ["bob@example.com"]


async def test_only_ends_are_mailed(world: World, post: Post) -> None:
    job_id = await running(world, URL, hook_events=["job.processing", "job.files", "job.failed"])
    await drain(world)
    await world.runtime.queue.fail(job_id, 1, f"p_{job_id}", code="invalid_input", detail="", retryable=False)
    await drain(world)
    assert [mail["Subject"] for mail in post.mails] == ["Your job has failed."]
    assert await left(world) == 0, "no other event was planned"


async def test_the_end_of_a_batch_is_mailed_once(clock: ManualClock, post: Post) -> None:
    body = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}, {"input": {}}], "hook_url": URL}
    async with make_world(None, clock, smtp_url=post.url, dispatch_on_submit=False, **MAIL) as world:
        async with http_client(**AUTH) as client:
            batch = (await client.post("/api/batches", json=body)).json()["id"]
            assert (await client.post(f"/api/batches/{batch}/cancel")).status_code == 200
        await run(world)
    assert [mail["Subject"] for mail in post.mails] == ["Your jobs are done."]


@pytest.mark.parametrize(
    "url",
    [
        "mailto:", "mailto:ada", "mailto://ada@example.com", "mailto:ada@example.com?cc=eve@example.com",
        "mailto:ada@example.com?language=fr", "mailto:ada@example.com#x", "mailto:ada@example.com,eve@example.com",
        "mailto:ada%0d%0a@example.com", "mailto://eve\u2100@example.com", "mailto://[eve",
        "mailto:eve@mail.spam.dev", "mailto:ada@example.com?language=zh&language=en",
    ],
)  # fmt: skip
async def test_what_is_no_mailbox_is_refused_at_submit(world: World, url: str) -> None:
    async with http_client(**AUTH) as client:
        answer = await client.post("/api/submit", json=BODY | {"hook_url": url})
    assert problem(answer, 422, "invalid_request")["field"] == "hook_url" and "eve" not in answer.text


async def test_a_submit_takes_a_mailbox_only_where_mail_is_sent(clock: ManualClock, post: Post) -> None:
    for settings, status in (({}, 422), ({"smtp_url": post.url, **MAIL}, 202)):
        async with make_world(None, clock, **settings) as world, http_client(**AUTH) as client:
            answer = await client.post("/api/submit", json=BODY | {"hook_url": "MAILTO:ada%2Bnews@example.com"})
            assert answer.status_code == status, answer.text
            assert world.clock
    assert destination_of("MAILTO:ada%2Bnews@example.com").to.address == "ada+news@example.com"


@pytest.mark.parametrize(
    ("changes", "state", "error"),
    [
        ({"verification_blocked": "example.com"}, "disabled", "mail_refused"),
        ({"smtp_url": None}, "pending", "mail_unavailable"),
    ],
)
async def test_the_settings_of_today_decide_about_a_mail(
    clock: ManualClock, post: Post, changes: dict[str, Any], state: str, error: str
) -> None:
    async with make_world(None, clock, smtp_url=post.url, **MAIL) as world:
        job_id = await completed(world, URL)
        world.follow_ups()
        world.another_process(**changes)
        world.manual.advance(60)
        await run(world)
        record = await delivery_of(world, job_id)
        assert (record.state, json.loads(record.entries[-1])["error"]) == (state, error)
    assert post.mails == []
