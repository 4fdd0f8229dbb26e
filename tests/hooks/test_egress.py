"""Egress: where a guarded client connects, and which certificates it trusts."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import pytest
from cryptography import x509

from shared import egress
from shared.egress import (
    EgressRefused,
    Guard,
    GuardedTransport,
    guarded_client,
    is_tls_failure,
)
from tests.hooks.authority import Authority
from tests.hooks.resolving import FORMS, LITERALS, LOCAL, PUBLIC_V4, PUBLIC_V6, TIMEOUT, Table, always

# What arrives at a socket


@dataclass
class Endpoint:
    """A server on this machine; it notes each request's head and source port."""

    port: int
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    heads: list[str] = field(default_factory=list)
    came_from: list[int] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)  # that TLS was asked for


@asynccontextmanager
async def endpoint(
    tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Endpoint]:
    made = Endpoint(0)
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while True:
                made.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                made.came_from.append(writer.get_extra_info("peername")[1])
                writer.write(made.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    def note_name(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        made.names.append(name)

    if tls is not None:
        tls.sni_callback = note_name
    server = await asyncio.start_server(serve, host, port, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class Anywhere(Guard):
    """Resolves every host to this machine, to show what the transport does with names."""

    async def addresses_of(self, url: httpx.URL) -> list[str]:
        return ["127.0.0.1"]


async def test_host_and_path_arrive_as_they_were_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_resolver(*_: object, **__: object) -> None:
        raise AssertionError("resolved again")

    monkeypatch.setattr(socket, "getaddrinfo", no_resolver)
    async with endpoint() as there, guarded_client(Guard(True, LOCAL), TIMEOUT) as client:
        answer = await client.post(f"http://localhost:{there.port}/a%2Fb?c=d#e", content=b"", headers={"X-Own": "1"})
    assert answer.text == "ok" and str(answer.url).startswith("http://localhost:")
    head = there.heads[0].lower()
    assert head.startswith("post /a%2fb?c=d http/1.1\r\n") and "x-own: 1\r\n" in head
    assert f"host: localhost:{there.port}\r\n" in head
    assert "user-agent: sluice\r\n" in head and "accept-encoding: identity\r\n" in head


async def test_an_ipv6_address_is_called_too() -> None:
    try:
        async with endpoint(host="::1") as there, guarded_client(Guard(True, LOCAL), TIMEOUT) as client:
            assert (await client.get(f"http://[::1]:{there.port}/")).text == "ok"
            assert f"host: [::1]:{there.port}" in there.heads[0].lower()
    except OSError:
        pytest.skip("this machine has no IPv6")


@dataclass
class Sockets:
    """Notes the addresses of sockets and opens none."""

    opened: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, remote_host: str, remote_port: int, **_: object) -> None:
        self.opened.append((str(remote_host), remote_port))
        raise OSError


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Sockets:
    noted = Sockets()
    monkeypatch.setattr(anyio, "connect_tcp", noted)
    return noted


@pytest.mark.parametrize("address", [PUBLIC_V4, PUBLIC_V6])
async def test_a_name_that_is_rebound_is_called_where_it_was_checked_or_not_at_all(
    sockets: Sockets, address: str
) -> None:
    table = Table({"example.com": [[address, "8.8.8.8"], ["169.254.169.254"]]})
    async with guarded_client(Guard(resolver=table), TIMEOUT) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://example.com/")
        assert sockets.opened == [(address, 443), ("8.8.8.8", 443)] and len(table.asked) == 1
        with pytest.raises(EgressRefused):
            await client.get("https://example.com/")
    assert len(sockets.opened) == 2 and len(table.asked) == 2


LAST = "127.0.0.9"  # of this machine too; each test says what listens where


async def test_the_next_address_is_called_if_the_first_takes_no_connection() -> None:
    table = Table({"localhost": [[LAST, "127.0.0.1"]]})
    async with endpoint() as there, guarded_client(Guard(True, table), TIMEOUT) as client:
        answer = await client.post(f"http://localhost:{there.port}/a", content=b"whole")
        assert answer.text == "ok" and len(there.heads) == 1
        assert f"host: localhost:{there.port}" in there.heads[0].lower()


@asynccontextmanager
async def silent(host: str, port: int) -> AsyncIterator[None]:
    """A port that takes no more connections and refuses none: its line is full, so a caller waits."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        yield


async def test_an_address_that_is_silent_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "CONNECT_EACH", 0.1)
    guard, patience = Guard(True, Table({"localhost": [[LAST, "127.0.0.1"]]})), httpx.Timeout(60)
    async with endpoint() as there, silent(LAST, there.port), guarded_client(guard, patience) as client:
        async with asyncio.timeout(20):
            assert (await client.get(f"http://localhost:{there.port}/")).text == "ok"


@pytest.mark.parametrize(("patience", "expected"), [(10.0, [2, 2, 2, 4]), (60.0, [3, 3, 3, 51])])
async def test_silent_addresses_leave_time_for_the_last(
    monkeypatch: pytest.MonkeyPatch, patience: float, expected: list[float]
) -> None:
    addresses = [f"93.184.215.{number}" for number in range(egress.MAX_ADDRESSES)]
    transport, given, now = GuardedTransport(Guard(resolver=always(example=addresses))), list[float](), [0.0]

    async def silence(request: httpx.Request, address: str, connect_timeout: float) -> httpx.Response:
        given.append(connect_timeout)
        now[0] += connect_timeout
        raise httpx.ConnectTimeout("")

    monkeypatch.setattr(transport, "_send", silence)
    request = httpx.Request("GET", "https://example.com/", extensions={"timeout": {"connect": patience}})
    with monkeypatch.context() as patch, pytest.raises(httpx.ConnectTimeout):
        patch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
        await transport.handle_async_request(request)
    assert given == pytest.approx(expected)


async def test_no_more_addresses_are_tried_than_the_bound(sockets: Sockets) -> None:
    addresses = [f"93.184.215.{number}" for number in range(9)]
    async with guarded_client(Guard(resolver=Table({"example.com": [addresses]})), TIMEOUT) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://example.com/")
    assert [address for address, _ in sockets.opened] == addresses[: egress.MAX_ADDRESSES]


async def test_what_was_sent_to_one_address_is_never_sent_to_another() -> None:
    async with endpoint() as first, endpoint(host=LAST, port=first.port) as second:
        first.answer = b"no HTTP\r\n\r\n"
        table = Table({"localhost": [["127.0.0.1", LAST]]})
        async with guarded_client(Guard(True, table), TIMEOUT) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(f"http://localhost:{first.port}/", content=b"x")
    assert (len(first.heads), len(second.heads)) == (1, 0)


async def test_one_private_address_still_refuses_all(sockets: Sockets) -> None:
    table = Table({"example.com": [[PUBLIC_V4, "10.0.0.1"]]})
    async with guarded_client(Guard(resolver=table), TIMEOUT) as client:
        with pytest.raises(EgressRefused):
            await client.get("https://example.com/")
    assert sockets.opened == []


@pytest.mark.parametrize(
    "url", [url for url, _ in FORMS] + [f"https://{host}/" for host in (*LITERALS, "0177.0.0.1", "\u2460.com")]
)
async def test_no_socket_is_opened_for_what_is_refused(sockets: Sockets, url: str) -> None:
    async with guarded_client(Guard(resolver=Table({})), TIMEOUT) as client:
        with pytest.raises(EgressRefused):
            await client.get(url)
    assert sockets.opened == []


@pytest.mark.parametrize(
    "location",
    ["/elsewhere", "http://169.254.169.254/", "https://xn--a/", "//xn--a.com/", "http://[::1", "https://\u2460.com/"],
)
async def test_a_redirect_is_an_answer_and_is_not_followed(location: str) -> None:
    async with endpoint() as there, guarded_client(Guard(True, LOCAL), TIMEOUT) as client:
        there.answer = f"HTTP/1.1 307 Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        assert (await client.get(f"http://127.0.0.1:{there.port}/")).status_code == 307
        assert len(there.heads) == 1


async def test_a_redirect_that_a_caller_follows_is_guarded_as_well() -> None:
    async with endpoint() as there, guarded_client(Guard(True, LOCAL), TIMEOUT) as client:
        there.answer = b"HTTP/1.1 302 Go\r\nLocation: https://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
        with pytest.raises(EgressRefused):
            await client.get(f"http://127.0.0.1:{there.port}/", follow_redirects=True)


async def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with endpoint() as proxy, endpoint() as there:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with guarded_client(Guard(True, LOCAL), TIMEOUT) as client:
            assert not client.trust_env
            assert (await client.get(f"http://127.0.0.1:{there.port}/")).text == "ok"
    assert proxy.heads == [] and len(there.heads) == 1


async def test_no_connection_serves_two_requests() -> None:
    async with endpoint() as there, guarded_client(Anywhere(), TIMEOUT) as client:
        for host in ("one.example.com", "one.example.com", "two.example.com"):
            assert (await client.get(f"http://{host}:{there.port}/")).text == "ok"
    assert len(set(there.came_from)) == 3
    assert [head.lower().count("host: one.") for head in there.heads] == [1, 1, 0]


async def test_cookies_are_not_kept() -> None:
    async with endpoint() as there, guarded_client(Guard(True, LOCAL), TIMEOUT) as client:
        there.answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
        for _ in range(2):
            await client.get(f"http://127.0.0.1:{there.port}/")
    assert "cookie" not in there.heads[1].lower()


async def test_nothing_is_built_before_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(**_: object) -> None:
        raise AssertionError("a transport was built")

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", build)
    transport = GuardedTransport(Guard(True, LOCAL))
    await transport.aclose()
    with pytest.raises(AssertionError, match="was built"):
        await transport.handle_async_request(httpx.Request("GET", "http://127.0.0.1/"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls_asks_for_the_name_and_checks_the_name(authority: Authority) -> None:
    tls = authority.server(x509.DNSName("hooks.example.com"))
    async with endpoint(tls) as there, guarded_client(Anywhere(), TIMEOUT, authority.trust) as client:
        assert (await client.get(f"https://hooks.example.com:{there.port}/")).text == "ok"
        with pytest.raises(httpx.ConnectError, match="Hostname mismatch"):
            await client.get(f"https://other.example.com:{there.port}/")
    assert there.names == ["hooks.example.com", "other.example.com"]
    assert len(there.heads) == 1


async def test_a_certificate_of_the_address_does_not_do_for_the_name(authority: Authority) -> None:
    tls = authority.server(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    async with endpoint(tls) as there, guarded_client(Anywhere(), TIMEOUT, authority.trust) as client:
        with pytest.raises(httpx.ConnectError, match="Hostname mismatch") as refused:
            await client.get(f"https://hooks.example.com:{there.port}/")
        assert is_tls_failure(refused.value)
    assert there.heads == []


async def test_a_certificate_that_fails_is_the_error_though_another_address_is_closed(authority: Authority) -> None:
    tls = authority.server(x509.DNSName("other.example.com"))
    async with endpoint(tls) as there:
        for addresses in (["127.0.0.1", LAST], [LAST, "127.0.0.1"]):
            async with guarded_client(
                Guard(True, Table({"localhost": [addresses]})), TIMEOUT, authority.trust
            ) as client:
                with pytest.raises(httpx.ConnectError) as refused:
                    await client.get(f"https://localhost:{there.port}/")
            assert is_tls_failure(refused.value)


async def test_a_closed_port_is_no_failure_of_tls() -> None:
    async with guarded_client(Guard(True, Table({"localhost": [[LAST]]})), TIMEOUT) as client:
        with pytest.raises(httpx.ConnectError) as refused:
            await client.get("https://localhost:9/")
    assert not is_tls_failure(refused.value)


async def test_an_unknown_authority_is_not_believed_though_the_environment_names_it(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "authority.pem").write_text(authority.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    tls = authority.server(x509.DNSName("localhost"))
    async with endpoint(tls) as there, guarded_client(Guard(True, LOCAL), TIMEOUT) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"https://localhost:{there.port}/")
    assert there.heads == []
