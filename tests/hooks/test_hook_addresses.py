"""Each reason for which submit refuses a hook URL has its sentence."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.egress import (
    MESSAGES,
    EgressRefused,
    Guard,
)
from shared.errors import InvalidRequest
from shared.hooks import address as hooks_address
from shared.hooks.address import SENTENCES, HookAddresses, check_hook_url
from tests.hooks.resolving import PUBLIC_V4, Table, always

# At submit


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://exa\tmple.com/", "must be a valid URL"),
        ("https://example.com/#top", "must not carry a fragment"),
        ("http://example.com/", SENTENCES["scheme"]),
        ("https://example.com:8443/", SENTENCES["port"]),
        ("https://user:password@example.com/", SENTENCES["userinfo"]),
        ("https://intranet/", SENTENCES["host"]),
        ("https://127.1/", SENTENCES["address"]),
        ("https://private.com/", SENTENCES["address"]),
        ("https://nowhere.com/", SENTENCES["unresolved"]),
    ],
)
async def test_a_refused_hook_gets_its_reason_in_one_sentence(url: str, sentence: str) -> None:
    guard = Guard(resolver=always(example=[PUBLIC_V4], private=["10.0.0.1"]))
    with pytest.raises(InvalidRequest) as caught:
        await check_hook_url(url, guard)
    assert (caught.value.detail, caught.value.field, caught.value.http_status) == (sentence, "hook_url", 422)


def test_each_reason_of_a_guard_has_its_sentence() -> None:
    assert set(SENTENCES) == set(MESSAGES) - {"redirect", "lookup"}
    assert len(set(SENTENCES.values())) == len(SENTENCES)


async def test_at_submit_a_host_is_resolved_once_a_minute_and_a_failure_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table({"example.com": [[PUBLIC_V4], ["10.0.0.1"]]})
    addresses = HookAddresses(Guard(resolver=table))
    for path in ("a", "b", "c"):
        await addresses.check(f"https://example.com/{path}")
    assert len(table.asked) == 1
    for asked in (2, 3):
        with pytest.raises(InvalidRequest):
            await addresses.check("https://nowhere.com/")
        assert len(table.asked) == asked
    monkeypatch.setattr(hooks_address, "REMEMBERED_FOR", -1.0)
    fresh = HookAddresses(Guard(resolver=table))
    with pytest.raises(InvalidRequest):
        await fresh.check("https://example.com/")


async def test_the_memory_of_hosts_is_bounded() -> None:
    asked: list[str] = []

    async def anywhere(host: str, port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC_V4]

    addresses = HookAddresses(Guard(resolver=anywhere))
    for number in range(300):
        await addresses.check(f"https://h{number}.example.com/")
    for number in (299, 300 - 256, 0):  # the newest and the oldest in memory, and one that was forgotten
        await addresses.check(f"https://h{number}.example.com/")
    assert asked[300:] == ["h0.example.com"]


TEXTS: Callable[[], st.SearchStrategy[str]] = lambda: (  # noqa: E731
    st.text(max_size=80)
    | st.builds("https://{}/{}".format, st.text(max_size=30), st.text(max_size=10))
    | st.builds(
        "{}://{}{}".format,
        st.sampled_from(["https", "http", "HTTPS", "ftp", ""]),
        st.text("0123456789abcdefx.:[]%@-_\\#?/\u3002\uff0e\u00e9\u0661\ud800", max_size=40),
        st.sampled_from(["", ":443", ":0", ":99999", ".com", ".com/", "@example.com", "#a"]),
    )
    | st.builds("https://xn--{}.com".format, st.text("abcdefghijklmnopqrstuvwxyz0123456789-", max_size=20))
)


@given(TEXTS())
@settings(max_examples=100, deadline=None)
def test_any_text_as_url_is_accepted_or_refused(url: str) -> None:
    assert_is_accepted_or_refused(url)


@pytest.mark.exhaustive
@given(TEXTS())
@settings(max_examples=1000, deadline=None)
def test_each_of_a_thousand_texts_as_url_is_accepted_or_refused(url: str) -> None:
    assert_is_accepted_or_refused(url)


def assert_is_accepted_or_refused(url: str) -> None:
    async def everywhere(host: str, port: int) -> list[str]:
        host.encode("idna")  # as getaddrinfo does
        return [PUBLIC_V4]

    async def try_it() -> None:
        guard = Guard(resolver=everywhere)
        try:
            await HookAddresses(guard).check(url)
        except InvalidRequest as refused:
            assert refused.detail in {*SENTENCES.values(), "must be a valid URL", "must not carry a fragment"}
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            return
        try:
            assert await guard.addresses_of(parsed) == [PUBLIC_V4]
        except EgressRefused as refused:
            assert refused.reason in MESSAGES
        else:
            assert parsed.scheme == "https" and "." in parsed.host and not parsed.userinfo

    asyncio.run(try_it())
