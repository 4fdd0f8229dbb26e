"""What Replicate's list says of a lost submission: surely its own, perhaps, or surely another one."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx

from shared.json_value import Json
from shared.providers.base import Found, ProviderUnavailable, Wanted
from shared.providers.replicate_api import MAX_PAGES, Replicate
from shared.providers.replicate_list import search
from tests.world import settings_for

BASE = "https://api.replicate.com/v1"
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
VERSION = "ab" * 32
MARK = {"job": "job_1", "attempt": "2", "incarnation": "", "nonce": "0f"}
OWN_URL = "https://s.example/api/webhook/replicate?job=job_1&attempt=2&incarnation=&nonce=0f"


def wanted(model: str = "acme/video", mark: dict[str, str] | None = None, **given: Json) -> Wanted:
    since, until = NOON - timedelta(minutes=2), NOON + timedelta(minutes=4)
    return Wanted(model, given or {"prompt": "x", "seed": 1}, since, until, mark or {})


def entry(**changes: Any) -> dict[str, Any]:
    shown = {
        "id": "p1", "model": "acme/video", "version": VERSION, "input": {"prompt": "x", "seed": 1},
        "created_at": "2026-11-28T12:00:01.5Z",
    }  # fmt: skip
    return {name: value for name, value in (shown | changes).items() if value is not ...}


@pytest.mark.parametrize(
    ("model", "changes", "kind"),
    [
        ("acme/video", {}, "alike"),
        ("acme/video", {"input": {"seed": 1.0, "prompt": "x"}}, "alike"),
        ("acme/video", {"model": "acme/other"}, "other"),
        ("acme/video", {"model": ...}, "doubtful"),
        (f"acme/video:{VERSION}", {}, "alike"),
        (f"acme/video:{'cd' * 32}", {}, "other"),
        (f"acme/video:{VERSION}", {"version": "hidden"}, "doubtful"),
        (f"acme/video:{VERSION}", {"version": "hidden", "model": "acme/other"}, "other"),
        (VERSION, {}, "alike"),
        (VERSION, {"version": "hidden"}, "doubtful"),
        ("deployments/acme/prod", {}, "doubtful"),
        ("deployments/acme/prod", {"input": {"prompt": "y"}}, "other"),
        ("acme/video", {"input": {"prompt": "y", "seed": 1}}, "other"),
        ("acme/video", {"input": {"prompt": "x", "seed": True}}, "other"),
        ("acme/video", {"input": {"prompt": "x", "seed": 1, "steps": 30}}, "doubtful"),
        ("acme/video", {"input": {"prompt": "x"}}, "doubtful"),
        ("acme/video", {"input": None}, "doubtful"),
        ("acme/video", {"created_at": "2026-11-28T11:57:59Z"}, "other"),
        ("acme/video", {"created_at": "2026-11-28T12:04:01Z"}, "other"),
    ],
)
def test_what_a_listed_prediction_can_be(model: str, changes: dict[str, Any], kind: str) -> None:
    found = search([entry(**changes)], wanted(model))
    ids = ("p1",)
    assert found == Found(
        alike=ids if kind == "alike" else (), doubtful=ids if kind == "doubtful" else (), is_complete=True
    )


def test_an_input_that_came_back_as_a_link_may_be_the_one_that_was_sent() -> None:
    shown = entry(input={"prompt": "x", "image": "https://replicate.delivery/a.png"})
    assert search([shown], wanted(prompt="x", image="data:image/png;base64,AA")).doubtful == ("p1",)
    assert search([shown], wanted(prompt="y", image="data:image/png;base64,AA")).doubtful == ()


@pytest.mark.parametrize(
    ("webhook", "kind"),
    [
        (OWN_URL, "marked"),
        (OWN_URL.replace("s.example", "an-older-address.example"), "marked"),
        (OWN_URL + "&x-vercel-protection-bypass=1", "marked"),
        (OWN_URL.replace("attempt=2", "attempt=1"), "other"),
        (OWN_URL.replace("nonce=0f", "nonce=0e"), "other"),
        (OWN_URL.replace("incarnation=", "incarnation=a"), "other"),
        ("https://another.example/hook", "other"),
        ("http://[", "other"),
        (None, "other"),
        (7, "other"),
        (..., "alike"),
    ],
)
def test_the_webhook_decides_where_the_list_shows_it(webhook: object, kind: str) -> None:
    found = search([entry(webhook=webhook)], wanted(mark=MARK))
    assert (found.marked, found.alike) == (("p1",) if kind == "marked" else (), ("p1",) if kind == "alike" else ())
    assert found.doubtful == () and found.is_complete


def test_without_a_mark_a_webhook_says_nothing() -> None:
    assert search([entry(webhook=OWN_URL)], wanted()).alike == ("p1",)


@pytest.mark.parametrize("bad", [7, None, [], {}, entry(id="a b"), entry(created_at=...), entry(created_at="soon")])
def test_a_list_with_an_entry_that_cannot_be_read_is_not_complete(bad: Any) -> None:
    assert search([bad, entry(id="p2")], wanted()) == Found(alike=("p2",), is_complete=False)


@pytest.fixture
async def replicate() -> AsyncIterator[Replicate]:
    provider = Replicate(settings_for(None, replicate_api_token="r8_token"))
    yield provider
    await provider.close()


@respx.mock
async def test_a_list_is_complete_once_its_last_page_is_read(replicate: Replicate) -> None:
    following = f"{BASE}/predictions?cursor=2"
    respx.get(following).respond(200, json={"results": [entry(id="p2")], "next": None})
    first = respx.get(f"{BASE}/predictions", params={"created_after": "2026-11-28T11:58:00+00:00"})
    first.respond(200, json={"results": [entry()], "next": following})
    assert await replicate.find(wanted(), 5) == Found(alike=("p1", "p2"), is_complete=True)


@pytest.mark.parametrize(
    "page",
    [
        httpx.Response(502, text="<html>"),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"results": [], "next": 7}),
        httpx.Response(200, json={"results": []}),
        httpx.Response(200, json={"next": None}),
        httpx.Response(200, json={"results": [], "next": f"{BASE}/predictions?cursor=again"}),
    ],
)
@respx.mock
async def test_a_part_of_a_list_is_no_list(replicate: Replicate, page: httpx.Response) -> None:
    route = respx.get(url__startswith=f"{BASE}/predictions").mock(return_value=page)
    with pytest.raises(ProviderUnavailable):
        await replicate.find(wanted(), 5)
    assert route.call_count in (1, MAX_PAGES)
