"""What each receiver gets over HTTP or SMTP, from a real server that also hangs, fails, and asks to wait."""

import json
import time

import pytest

from shared.alerts.standing import Change, Notice
from shared.alerts.texts import in_code
from shared.clock import ManualClock
from shared.signing.derived import alert_secret
from tests.alerts.looking import in_trouble, look, receiving
from tests.logs import all_logs
from tests.post import post_office, text_of
from tests.receiver import Answer, Received
from tests.world import make_world

NASTY = "@everyone <!channel> <@U123> [x](https://evil.test) `*_~|>#\n\x00 " + "x" * 300


async def test_each_receiver_gets_an_alert_in_its_own_form() -> None:
    async with receiving(alert_runbook_url="https://acme.test/runbook.md") as (world, place):
        await in_trouble(world)
        await look(world)
        (slack,), (discord,) = place.on("/slack/T0/B0/secret-of-slack"), place.on("/discord/1/secret-of-discord")
        head, section = json.loads(slack.body)["blocks"]
        assert head["text"]["text"] == "*Sluice, sluice:test: 1 fired*"
        lead, text, link = section["text"]["text"].split("\n")
        assert lead == "*Fired: A provider refuses submissions*"
        assert text == ("replicate has refused submissions for 2 min: billing, status 402, 1 refusal. `acme/bad`")
        assert link == "https://acme.test/runbook.md#provider-refuses"
        content = json.loads(discord.body)
        assert content["allowed_mentions"] == {"parse": []}
        assert content["content"].split("\n")[2:] == [text, f"<{link}>"]
        (signed,) = [request for request in place.received if request.path.startswith("/alerts")]
        event = signed.verified(alert_secret(world.runtime.settings.signing_key))
        assert event["type"] == "alerts.changed"
        (change,) = event["data"]["changes"]
        assert change["word"] == "fired" and change["key"] == "provider_refuses:replicate"
        assert change["figures"] == {"seconds": 120, "refusals": 1, "status": 402}
        assert change["runbook"] == link


async def test_names_that_callers_made_up_are_no_mark_up_and_mention_nobody() -> None:
    async with receiving() as (world, place):
        await in_trouble(world, NASTY)
        await look(world)
        section = json.loads(place.on("/slack/T0/B0/secret-of-slack")[0].body)["blocks"][1]["text"]
        assert section["verbatim"] is True
        assert "<" not in section["text"] and ">" not in section["text"]
        spans = section["text"].split("`")
        assert len(spans) == 5 and any("&lt;!channel&gt;" in span for span in spans[1::2])
        content = json.loads(place.on("/discord/1/secret-of-discord")[0].body)["content"]
        spans = content.split("`")
        assert len(spans) == 5 and not any("everyone" in span or "evil" in span for span in spans[0::2])
        assert max(map(len, spans[1::2])) <= 120


def test_a_name_in_code_ends_only_where_it_should() -> None:
    assert in_code("a`b``c") == "`a'b''c`"


def notice_of(changes: int, name: str) -> Notice:
    """A notice that is as large as one can be."""
    change: Change = {
        "word": "fired", "key": "circuit_open", "name": "circuit_open", "severity": "warning",
        "since": 1_800_000_000_000, "text": "t" * 500, "figures": {"models": 64}, "names": [name] * 10,
    }  # fmt: skip
    return {"id": "alr_1", "at": 1_800_000_000_000, "changes": [change] * changes, "left": {}}


@pytest.mark.parametrize("name", ["n" * 120, "<>&`" * 30, "\U0001f600" * 120])
async def test_texts_stay_within_what_the_receivers_take(name: str) -> None:
    async with receiving() as (world, _):
        places = world.runtime.alerts._sending.receivers
        notice = notice_of(40, name)
        blocks = json.loads(places["slack"].body(notice))["blocks"]  # type: ignore[attr-defined]
        assert len(blocks) <= 50 and all(len(block["text"]["text"]) <= 3000 for block in blocks)
        content = json.loads(places["discord"].body(notice))["content"]  # type: ignore[attr-defined]
        assert len(content) <= 2000
        body = places["webhook"].body(notice)  # type: ignore[attr-defined]
        event = json.loads(body)["data"]
        assert len(body) <= 20_000 and len(event["changes"]) + event["left_out"] == 40 and event["changes"]


@pytest.mark.parametrize("status", [429, 500, 404, 302])
async def test_a_receiver_that_answers_an_error_is_tried_again_later(status: int) -> None:
    async with receiving() as (world, place):
        extra = {"Retry-After": "400"} if status == 429 else {"Location": "/elsewhere"}
        place.answers = lambda request: (status, extra, b"no" * 100_000) if "slack" in request.path else (204, {}, b"")
        await in_trouble(world)
        with all_logs() as entries:
            await look(world)
        assert "secret-of" not in str(entries) and "/slack/" not in str(entries)
        assert [entry["why"] for entry in entries if entry["event"] == "alert_not_sent"] == [f"status {status}"]
        place.answers = lambda _: (200, {}, b"ok")
        tries = []
        for _ in range(4):
            world.manual.advance(120)
            await look(world)
            tries.append(len(place.on("/slack/T0/B0/secret-of-slack")))
        assert tries == ([1, 1, 1, 2] if status == 429 else [2, 2, 2, 2])
        assert len(place.on("/discord/1/secret-of-discord")) == 1 and place.on("/elsewhere") == []


async def test_a_webhook_is_repeated_under_its_id_with_a_new_signature() -> None:
    async with receiving() as (world, place):
        place.answers = lambda _: (503, {}, b"")
        await in_trouble(world)
        for _ in range(2):
            await look(world)
            world.manual.advance(120)
        first, second = [request for request in place.received if request.path.startswith("/alerts")]
        assert first.event_id == second.event_id and first.headers != second.headers


async def test_receivers_that_hang_delay_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick starts its jobs, and submits and starts go on, while no receiver answers."""
    monkeypatch.setattr("shared.alerts.sending.SEND_DEADLINE", 1.5)

    def never(_: Received) -> Answer | None:
        return None

    async with receiving() as (world, place):
        await world.runtime.controls.note_refused_webhook()
        place.answers = never
        for number in range(3):
            await world.enqueue(f"user{number}")
        moments: list[float] = []
        create = world.provider.create

        async def timed(*given: object) -> object:
            moments.append(time.monotonic())
            return await create(*given)  # type: ignore[arg-type]

        monkeypatch.setattr(world.provider, "create", timed)
        began = time.monotonic()
        await world.runtime.tick.run()
        ended = time.monotonic()
        assert len(place.received) == 3 and ended - began >= 1.5
        assert len(moments) == 3 and max(moments) - began < 0.4


async def test_a_mailbox_gets_a_mail_that_holds_no_mark_up_of_others() -> None:
    async with post_office() as post:
        mail = {"smtp_url": post.url, "mail_from": "Sluice <ops@acme.test>"}
        async with make_world(None, ManualClock(), alert_email="ada@example.com, bob@example.com", **mail) as world:
            await in_trouble(world, "<b>bad</b>")
            await look(world)
        assert sorted(post.recipients) == ["ada@example.com", "bob@example.com"]
        message = post.mails[0]
        assert message["Subject"] == "Sluice, sluice:test: 1 fired"
        assert "<b>bad</b>" in text_of(message)
        html = text_of(message, "html")
        assert "<b>bad</b>" not in html and "&lt;b&gt;bad&lt;/b&gt;" in html


async def test_a_mail_server_that_takes_no_mail_is_tried_again_later() -> None:
    async with post_office() as post:
        mail = {"smtp_url": post.url, "mail_from": "Sluice <ops@acme.test>"}
        async with make_world(None, ManualClock(), alert_email="ada@example.com", **mail) as world:
            post.to_mail = "451 later"
            await in_trouble(world)
            await look(world)
            post.to_mail = "250 OK"
            world.manual.advance(120)
            await look(world)
            assert len(post.mails) == 1


async def test_a_mailbox_that_is_full_costs_no_other_mailbox_a_second_mail() -> None:
    async with post_office() as post:
        mail = {"smtp_url": post.url, "mail_from": "Sluice <ops@acme.test>"}
        mail |= {
            "alert_email": "ada@example.com, bob@example.com",
            "alert_thresholds": "jobs_not_started:off, schedule_silent:off",
        }
        async with make_world(None, ManualClock(), **mail) as world:
            post.full = {"bob@example.com"}
            await in_trouble(world)
            with all_logs() as entries:
                for _ in range(3):
                    await look(world)
                    world.manual.advance(600)
            assert post.recipients == ["ada@example.com"]
            assert [entry["tries"] for entry in entries if entry["event"] == "alert_not_sent"] == [1, 2, 3]
            assert "example.com" not in str([entry for entry in entries if entry["event"] == "alert_not_sent"])
            post.full = set()
            await look(world)
            assert post.recipients == ["ada@example.com", "bob@example.com"]


async def test_what_a_text_leaves_out_has_no_empty_headline() -> None:
    async with receiving() as (world, _):
        discord = world.runtime.alerts._sending.receivers["discord"]
        notice = notice_of(15, "n")
        for change in notice["changes"]:
            change["text"] = ""
        content = json.loads(discord.body(notice))["content"]  # type: ignore[attr-defined]
        assert content.endswith("\n3 more changes.") and "****" not in content
