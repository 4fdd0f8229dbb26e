"""Which addresses are public, and what a guard refuses before it opens a socket."""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import egress
from shared.addresses import NAT64, REFUSED, is_public
from shared.egress import MESSAGES, EgressRefused, Guard, guarded_client, resolve
from shared.errors import InvalidRequest, LookupFailed
from shared.hooks.address import HookAddresses, check_hook_url
from tests.hooks.resolving import FORMS, LITERALS, LOCAL, PUBLIC_V4, PUBLIC_V6, TIMEOUT, Table, always

NOT_PUBLIC = [
    # Each one that ipaddress.is_global takes for public
    "192.88.99.1", "224.0.0.1", "239.255.255.255", "64:ff9b::a9fe:a9fe", "64:ff9b::127.0.0.1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "5f00::1", "::127.0.0.1", "::8.8.8.8", "fec0::1", "ff02::1", "ff0e::1",
    # This machine, this network, unspecified
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "::", "::1", "255.255.255.255", "240.0.0.1",
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255", "fc00::1", "fdff::1",
    "169.254.0.1", "fe80::1", "fe80::1%eth0", "2606:4700::1111%1", "febf::1",
    # Metadata services of clouds
    "169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16",
    # Documentation, benchmarks, protocols
    "192.0.0.1", "192.0.0.9", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
    "2001:db8::1", "3fff::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1",
    "2001:20::1", "100::1", "100:0:0:1::1", "3ffe::1", "2620:4f:8000::1", "192.31.196.1", "192.52.193.1",
    "192.175.48.1",
    # IPv4 inside IPv6
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "::ffff:0:127.0.0.1",
    "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "64:ff9b:1:fffe::1", "64:ff9b:0:0:0:1::1",
    # Reserved
    "4000::1", "6000::1", "8000::1", "1000::1", "e000::1", "fe00::1",
    # No addresses, even if getaddrinfo accepts them
    "", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "017700000001", "\u2460\u2461\u2466.0.0.1",
    "\uff11\uff12\uff17.0.0.1", "008.008.008.008", "8.8.8.8 ", "8.8.8.8/32", "[::1]", "example.com", "8.8.8.8:443",
]  # fmt: skip

ALL_PUBLIC = [
    PUBLIC_V4, PUBLIC_V6, "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
    "192.88.98.255", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "168.63.129.17", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:200::1", "2001:4860:4860::8888", "2003::1",
    "2400::1", "2620:fe::fe", "2a00:1450::1", "3fff:1000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_outside_the_public_internet_is_recognised(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ALL_PUBLIC)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("network", REFUSED, ids=str)
def test_a_refused_network_is_refused_from_its_first_to_its_last_address(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    for address in (network[0], network[-1], network[network.num_addresses // 2]):
        assert not is_public(str(address))
        if address.version == 4:
            assert not is_public(f"::ffff:{address}") and not is_public(f"64:ff9b::{address}")


@given(st.ip_addresses())
@settings(max_examples=500)
def test_nothing_is_public_that_the_standard_library_knows_better(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if is_public(str(address)) and getattr(address, "ipv4_mapped", None) is None and address not in NAT64:
        assert address.is_global and not address.is_multicast and not address.is_reserved


async def refusal(guard: Guard, url: str) -> str:
    with pytest.raises(EgressRefused) as caught:
        await guard.addresses_of(httpx.URL(url))
    assert str(caught.value) == MESSAGES[caught.value.reason]
    return caught.value.reason


@pytest.mark.parametrize(("url", "reason"), FORMS)
async def test_a_url_of_another_form_is_refused(url: str, reason: str) -> None:
    everywhere = Table({})
    assert await refusal(Guard(resolver=everywhere), url) == reason
    assert reason == "unresolved" or not everywhere.asked


@pytest.mark.parametrize("host", LITERALS)
async def test_an_address_in_any_notation_is_refused_without_a_lookup(host: str) -> None:
    empty = Table({})
    assert await refusal(Guard(resolver=empty), f"https://{host}/") == "address"
    assert empty.asked == []


@pytest.mark.parametrize(
    "host", ["\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "\uff11\uff12\uff17.0.0.1", "0177.0.0.1", "exa\tmple.com"]
)
async def test_other_digits_octals_and_control_characters_make_no_url(host: str) -> None:
    with pytest.raises(httpx.InvalidURL):
        httpx.URL(f"https://{host}/")
    with pytest.raises(InvalidRequest):
        await check_hook_url(f"https://{host}/", Guard(resolver=Table({})))


@pytest.mark.parametrize("number", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "017700000001"])
async def test_the_resolver_itself_takes_numbers_for_this_machine(number: str) -> None:
    """Why form and resolved addresses are both checked."""
    assert await resolve(number, 443) == ["127.0.0.1"]
    with pytest.raises(InvalidRequest):
        await check_hook_url(f"https://{number}/", Guard())


@pytest.mark.parametrize("private", NOT_PUBLIC)
async def test_one_address_that_is_not_public_refuses_the_name(private: str) -> None:
    for addresses in ([private], [PUBLIC_V4, private], [private, PUBLIC_V6], [PUBLIC_V4, PUBLIC_V6, private]):
        assert await refusal(Guard(resolver=always(example=addresses)), "https://example.com/") == "address"


async def test_public_addresses_are_called_in_the_resolvers_order() -> None:
    table = always(example=[PUBLIC_V6, PUBLIC_V4])
    for url in ("https://example.com/a?b=c#d", "HTTPS://EXAMPLE.com:443/"):
        assert await Guard(resolver=table).addresses_of(httpx.URL(url)) == [PUBLIC_V6, PUBLIC_V4]
    assert table.asked == [("example.com", 443)] * 2


async def test_a_name_in_other_letters_is_resolved_as_the_dns_writes_it() -> None:
    table = Table({"xn--exmple-cua.com": [[PUBLIC_V4]]})
    assert await Guard(resolver=table).addresses_of(httpx.URL("https://ex\u00e4mple.com/")) == [PUBLIC_V4]


async def test_a_name_without_addresses_is_not_found() -> None:
    assert await refusal(Guard(resolver=always(example=[])), "https://example.com/") == "unresolved"


TROUBLE: dict[str, Exception] = {
    "a time-out": TimeoutError(),
    "try again": socket.gaierror(socket.EAI_AGAIN, ""),
    "a failure of the server": socket.gaierror(socket.EAI_FAIL, ""),
    "no file left": OSError(24, "Too many open files"),
}
NO_NAME: dict[str, Exception] = {
    "no such name": socket.gaierror(socket.EAI_NONAME, ""),
    "no address": socket.gaierror(socket.EAI_NODATA, ""),
    "a label too long": UnicodeError("label too long"),
}


@pytest.mark.parametrize("word", [*TROUBLE, *NO_NAME])
async def test_trouble_of_the_resolver_is_no_answer_about_the_name(word: str) -> None:
    async def fail(host: str, port: int) -> list[str]:
        raise (TROUBLE | NO_NAME)[word]

    reason = "lookup" if word in TROUBLE else "unresolved"
    assert await refusal(Guard(resolver=fail), "https://example.com/") == reason
    with pytest.raises(LookupFailed if word in TROUBLE else InvalidRequest):
        await check_hook_url("https://example.com/", Guard(resolver=fail))


async def test_with_hosts_only_these_and_their_subdomains_are_called() -> None:
    table = always(example=[PUBLIC_V4], cdn_example=[PUBLIC_V4], badexample=[PUBLIC_V4])
    table.answers["example.com.evil.org"] = [[PUBLIC_V4]]
    guard = Guard(resolver=table, hosts=("example.com", "files.example.org"))
    for host in ("example.com", "cdn.example.com"):
        assert await guard.addresses_of(httpx.URL(f"https://{host}/")) == [PUBLIC_V4]
    for host in ("badexample.com", "example.com.evil.org", "example.org"):
        assert await refusal(guard, f"https://{host}/") == "host"
    assert await refusal(Guard(resolver=table, hosts=()), "https://example.com/") == "host"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:8080", "127.0.0.1:1", "[::1]:8443"])
async def test_this_machine_is_called_only_where_that_is_allowed(scheme: str, host: str) -> None:
    url = f"{scheme}://{host}/"
    found = await Guard(True, LOCAL, hosts=("example.com",)).addresses_of(httpx.URL(url))
    assert found and set(found) <= {"127.0.0.1", "::1"}
    assert await refusal(Guard(resolver=LOCAL), url) in ("scheme", "port", "host", "address")


async def test_where_this_machine_is_allowed_nothing_else_is_that_is_not_public() -> None:
    table = Table({"localhost": [["127.0.0.1", "10.0.0.1"]], "example.com": [["127.0.0.1"]]})
    guard = Guard(allow_loopback=True, resolver=table)
    assert await refusal(guard, "http://localhost/") == "address"
    assert await refusal(guard, "https://example.com/") == "address"
    assert await refusal(guard, "https://127.0.0.2/") == "address"
    assert await refusal(guard, "http://example.com/") == "scheme"
    assert await refusal(guard, "ftp://localhost/") == "scheme"
    assert await refusal(guard, "http://user:password@localhost/") == "userinfo"


async def test_resolving_gives_each_address_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(host: str, port: int, *_: object, **__: object) -> list[object]:
        assert (host, port) == ("example.com", 443)
        v6 = (socket.AF_INET6, 1, 6, "", (PUBLIC_V6, port, 0, 0))
        return [v6, v6, (socket.AF_INET, 1, 6, "", (PUBLIC_V4, port)), v6]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert await resolve("example.com", 443) == [PUBLIC_V6, PUBLIC_V4]


@dataclass
class SlowNames:
    """A resolver of the system that is stuck for names of slow.example, and fast for others."""

    release: threading.Event = field(default_factory=threading.Event)
    stuck: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int, *_: object, **__: object) -> list[object]:
        if host.endswith("slow.example"):
            self.stuck.append(host)
            self.release.wait(20)
        return [(socket.AF_INET, 1, 6, "", (PUBLIC_V4, port))]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    names = SlowNames()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    yield names
    names.release.set()


async def test_resolving_ends_at_its_deadline(slow: SlowNames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "RESOLVE_TIMEOUT", 0.1)
    assert await refusal(Guard(), "https://a.slow.example/") == "lookup"


async def test_slow_names_of_one_owner_hold_up_no_other_and_free_their_threads_at_last(
    slow: SlowNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "RESOLVE_TIMEOUT", 10.0)  # longer than any step here takes
    # More than all threads: without a bound for each owner, no other lookup would begin.
    with egress.looked_up_for("guilty"):
        names = [resolve(f"h{number}.slow.example", 443) for number in range(egress.MAX_RESOLVING + 8)]
        lookups = [asyncio.create_task(name) for name in names]
    while len(slow.stuck) < egress.MAX_RESOLVING_OF_ONE:
        await asyncio.sleep(0.01)
    with egress.looked_up_for("innocent"):
        assert await Guard().addresses_of(httpx.URL("https://fast.example/")) == [PUBLIC_V4]
    assert len(slow.stuck) == egress.MAX_RESOLVING_OF_ONE
    for lookup in lookups:
        lookup.cancel()
    await asyncio.gather(*lookups, return_exceptions=True)
    with egress.looked_up_for("guilty"):
        monkeypatch.setattr(egress, "RESOLVE_TIMEOUT", 0.1)
        assert await refusal(Guard(), "https://fast.example/") == "lookup"  # its threads are still stuck
        slow.release.set()
        monkeypatch.setattr(egress, "RESOLVE_TIMEOUT", 10.0)
        assert await Guard().addresses_of(httpx.URL("https://fast.example/")) == [PUBLIC_V4]


async def test_a_lookup_that_waits_behind_slow_names_of_its_owner_holds_up_no_other_owner(
    slow: SlowNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "RESOLVE_TIMEOUT", 10.0)
    addresses = HookAddresses(Guard())
    names = [f"h{number}.slow.example" for number in range(egress.MAX_RESOLVING_OF_ONE)]
    guilty = [asyncio.create_task(addresses.check(f"https://{name}/", "guilty")) for name in names]
    while len(slow.stuck) < egress.MAX_RESOLVING_OF_ONE:
        await asyncio.sleep(0.01)
    guilty.append(asyncio.create_task(addresses.check("https://shared.example/", "guilty")))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await addresses.check("https://shared.example/", "innocent")
    assert not guilty[-1].done()
    slow.release.set()
    await asyncio.gather(*guilty)


async def test_names_that_wait_for_a_thread_are_bounded_and_cost_nothing(
    slow: SlowNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "RESOLVE_TIMEOUT", 10.0)
    with egress.looked_up_for("guilty"):
        names = [resolve(f"h{number}.slow.example", 443) for number in range(1000)]
        lookups = [asyncio.create_task(name) for name in names]
    while len(slow.stuck) < egress.MAX_RESOLVING_OF_ONE:
        await asyncio.sleep(0.01)
    refused = [lookup for lookup in lookups if lookup.done()]
    assert all(isinstance(lookup.exception(), TimeoutError) for lookup in refused)
    assert len(lookups) - len(refused) == egress.MAX_RESOLVING_OF_ONE + egress.MAX_WAITING_OF_ONE
    loop, timers = asyncio.get_running_loop(), list[float]()
    call_at = loop.call_at

    def counted(when: float, *given: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_at", counted)
        await asyncio.sleep(0.1)
    assert len(timers) == 1  # of this sleep: no lookup looks again and again
    slow.release.set()
    await asyncio.gather(*lookups, return_exceptions=True)
    assert len([lookup for lookup in lookups if lookup.exception() is None]) == len(lookups) - len(refused)


async def test_a_lookup_that_is_given_up_while_it_waits_leaves_its_turn_to_the_next(slow: SlowNames) -> None:
    with egress.looked_up_for("impatient"):
        names = [resolve(f"h{number}.slow.example", 443) for number in range(egress.MAX_RESOLVING_OF_ONE)]
        lookups = [asyncio.create_task(name) for name in names]
        while len(slow.stuck) < egress.MAX_RESOLVING_OF_ONE:
            await asyncio.sleep(0.01)
        for _ in range(3):
            given_up = [asyncio.create_task(resolve("fast.example", 443)) for _ in range(egress.MAX_WAITING_OF_ONE)]
            await asyncio.sleep(0)
            for lookup in given_up:
                lookup.cancel()
            await asyncio.gather(*given_up, return_exceptions=True)
        last = asyncio.create_task(resolve("fast.example", 443))
        slow.release.set()
        async with asyncio.timeout(5):
            assert await last == [PUBLIC_V4]
            await asyncio.gather(*lookups)


async def test_a_caller_who_gives_up_meanwhile_is_not_held() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with guarded_client(Guard(resolver=never), TIMEOUT) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.get("https://example.com/")
