"""What Replicate's list says of a lost submission: surely its own, perhaps, or surely another one."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from shared.json_value import Json
from shared.providers.base import Found, ProviderUnavailable, Wanted
from shared.providers.listing import MAX_MEMBER, PageReader
from shared.providers.reading import UNREAD
from shared.providers.replicate_api import MAX_PAGES, Replicate
from shared.providers.replicate_list import Search
from tests.providers.trees import TREES
from tests.world import settings_for

BASE = "https://api.replicate.com/v1"
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
VERSION = "ab" * 32
NESTED = "[" * 1500 + "]" * 1500
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


def search(listed: Sequence[Json], wanted: Wanted) -> Found:
    search = Search(wanted)
    for entry in listed:
        search.judge(entry)
    return search.found


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
        ("", "other"),
        (None, "alike"),
        (7, "alike"),
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
    bounds = {"created_after": "2026-11-28T11:58:00+00:00", "created_before": "2026-11-28T12:04:00+00:00"}
    first = respx.get(f"{BASE}/predictions", params=bounds)
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
        httpx.Response(200, json={"results": {}, "next": None}),
        httpx.Response(200, json={"data": [], "next": None}),
        httpx.Response(200, json=[]),
        httpx.Response(200, text='{"results": [], "next": ' + NESTED + "}"),
        httpx.Response(200, text='{"results": [], "next": null'),
        httpx.Response(200, text='{"next": null, "results": [{}'),
        httpx.Response(200, text='{"next": null, "results": [}'),
        httpx.Response(200, json={"results": [], "next": f"{BASE}/predictions?cursor=again"}),
        httpx.Response(200, json={"results": [], "next": f"{BASE}/predictions?cursor=\n2"}),
        httpx.Response(200, json={"results": [], "next": "https://[/predictions"}),
    ],
)
@respx.mock
async def test_a_part_of_a_list_is_no_list(replicate: Replicate, page: httpx.Response) -> None:
    route = respx.get(url__startswith=f"{BASE}/predictions").mock(return_value=page)
    with pytest.raises(ProviderUnavailable):
        await replicate.find(wanted(), 5)
    assert route.call_count in (1, MAX_PAGES)


def page_of(*entries: str) -> str:
    return '{"next": null, "results": [' + ", ".join(entries) + "]}"


def text_of(**changes: Any) -> str:
    return json.dumps(entry(**changes))


OTHERS = [text_of(id=f"other{number}", input={"prompt": "y" * 12_000, "seed": number}) for number in range(99)]


@pytest.mark.parametrize(
    "output",
    [
        NESTED,
        "9" * 5000,
        '"' + "o" * 11_000_000 + '"',
        '"' + '\\"]}' * 200_000 + '"',
        "[" + '{"a": [1, "b"], "id": "p1"},' * 50_000 + "0]",
    ],
    ids=["deep", "digits", "large", "quoted", "many"],
)
@respx.mock
async def test_no_output_of_a_list_hides_a_prediction(replicate: Replicate, output: str) -> None:
    ran = text_of(id="ran", input={"prompt": "z"})[:-1]
    page = page_of(*OTHERS, f'{ran}, "output": {output}, "logs": {output}}}', text_of())
    respx.get(url__startswith=f"{BASE}/predictions").respond(200, text=page)
    assert await replicate.find(wanted(), 10) == Found(alike=("p1",), is_complete=True)


@respx.mock
async def test_a_page_may_have_any_size(replicate: Replicate) -> None:
    large = [text_of(id=f"other{number}", input={"seed": 2}, output="o" * 1_100_000) for number in range(20)]
    respx.get(url__startswith=f"{BASE}/predictions").respond(200, text=page_of(*large, text_of()))
    assert await replicate.find(wanted(), 10) == Found(alike=("p1",), is_complete=True)


@pytest.mark.parametrize(
    "shown",
    [NESTED, '{"prompt": "' + "x" * (MAX_MEMBER + 1) + '"}', '{"seed": ' + "9" * 5000 + "}"],
    ids=["deep", "large", "long number"],
)
@respx.mock
async def test_an_input_that_cannot_be_read_leaves_doubt_only_if_the_model_is_the_same(
    replicate: Replicate, shown: str
) -> None:
    listed = text_of(input=0), text_of(id="p2", model="acme/other", input=0)
    page = page_of(*(each.replace('"input": 0', f'"input": {shown}') for each in listed))
    respx.get(url__startswith=f"{BASE}/predictions").respond(200, text=page)
    assert await replicate.find(wanted(), 5) == Found(doubtful=("p1",), is_complete=True)


@pytest.mark.parametrize("shown", ["7", "null", '"p"', "[[]]", "{}", '{"id": ' + NESTED + "}"])
@respx.mock
async def test_what_is_no_prediction_leaves_the_list_incomplete(replicate: Replicate, shown: str) -> None:
    respx.get(url__startswith=f"{BASE}/predictions").respond(200, text=page_of(shown, text_of()))
    assert await replicate.find(wanted(), 5) == Found(alike=("p1",), is_complete=False)


class EndlessPage(httpx.AsyncByteStream):
    """A page whose output never ends."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"results": [{"output": "'
        while True:
            yield b"x" * 65_536


@respx.mock
async def test_a_page_that_does_not_end_is_left_at_the_deadline(replicate: Replicate) -> None:
    respx.get(url__startswith=f"{BASE}/predictions").mock(return_value=httpx.Response(200, stream=EndlessPage()))
    with pytest.raises(ProviderUnavailable, match="too long"):
        await replicate.find(wanted(), 0.2)


@given(TREES, st.integers(1, 60))
def test_a_page_is_read_as_python_reads_it_however_it_is_cut_into_blocks(tree: Json, size: int) -> None:
    entries = [
        {"id": "p1", "output": tree, "input": tree, "webhook": '\\"'},
        tree,
        {"input": {"id": tree}, "logs": "]"},
    ]
    body = json.dumps({"previous": {"next": 1, "results": [{}]}, "results": entries, "next": "\\u00e9"}).encode()
    taken: list[Json] = []
    reader = PageReader(("id", "input", "webhook"), taken.append)
    for at in range(0, len(body), size):
        assert not reader.is_whole
        reader.feed(body[at : at + size])
    assert reader.is_whole and reader.has_list and reader.page == {"next": "\\u00e9"}
    kept = ("id", "input", "webhook")
    assert taken == [
        {name: value for name, value in each.items() if name in kept} if isinstance(each, dict) else UNREAD
        for each in entries
    ]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_page_or_a_value_error(body: bytes) -> None:
    with suppress(ValueError):
        PageReader((), lambda _: None).feed(b'{"results": [' + body)
