"""The way out: which addresses are public, what a guard refuses, and where the sockets of its client go."""

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import egress
from shared.egress import (
    MESSAGES,
    REFUSED,
    EgressRefused,
    Guard,
    GuardedTransport,
    guarded_client,
    is_public,
    resolve,
)
from shared.errors import InvalidRequest
from shared.hooks import address as hooks_address
from shared.hooks.address import SENTENCES, HookAddresses, check_hook_url

PUBLIC_V4, PUBLIC_V6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
TIMEOUT = httpx.Timeout(5)

NOT_PUBLIC = [
    # Each one that ipaddress.is_global takes for public (reliability.md, SSRF facts)
    "192.88.99.1", "224.0.0.1", "239.255.255.255", "64:ff9b::a9fe:a9fe", "64:ff9b::127.0.0.1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "5f00::1", "::127.0.0.1", "::8.8.8.8", "fec0::1", "ff02::1", "ff0e::1",
    # This machine, this network, nobody
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "::", "::1", "255.255.255.255", "240.0.0.1",
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255", "fc00::1", "fdff::1",
    "169.254.0.1", "fe80::1", "fe80::1%eth0", "2606:4700::1111%1", "febf::1",
    # What clouds tell their machines
    "169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16",
    # Documentation, benchmarks, protocols
    "192.0.0.1", "192.0.0.9", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
    "2001:db8::1", "3fff::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1",
    "2001:20::1", "100::1", "100:0:0:1::1", "3ffe::1", "2620:4f:8000::1", "192.31.196.1", "192.52.193.1",
    "192.175.48.1",
    # IPv4 inside IPv6
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "::ffff:0:127.0.0.1",
    "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "64:ff9b:1:fffe::1", "64:ff9b:0:0:0:1::1",
    # Never given out
    "4000::1", "6000::1", "8000::1", "1000::1", "e000::1", "fe00::1",
    # No addresses, whatever getaddrinfo makes of them
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
def test_an_address_that_is_not_of_the_public_internet_is_told(address: str) -> None:
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
    if is_public(str(address)) and getattr(address, "ipv4_mapped", None) is None and address not in egress.NAT64:
        assert address.is_global and not address.is_multicast and not address.is_reserved


@dataclass
class Table:
    """A resolver that knows names by heart, each with its answers in turn; the last one stays."""

    answers: dict[str, list[list[str]]]
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        left = self.answers[host]
        return left.pop(0) if len(left) > 1 else left[0]


def always(**hosts: list[str]) -> Table:
    """example.com by the keyword ``example``; underscores are dots."""
    return Table({f"{name.replace('_', '.')}.com": [addresses] for name, addresses in hosts.items()})


async def refusal(guard: Guard, url: str) -> str:
    with pytest.raises(EgressRefused) as caught:
        await guard.address_of(httpx.URL(url))
    assert str(caught.value) == MESSAGES[caught.value.reason]
    return caught.value.reason


FORMS = [
    ("http://example.com/", "scheme"),
    ("ftp://example.com/", "scheme"),
    ("file:///etc/passwd", "scheme"),
    ("gopher://example.com/", "scheme"),
    ("//example.com/", "scheme"),
    ("/only/a/path", "scheme"),
    ("", "scheme"),
    ("https://example.com:444/", "port"),
    ("https://example.com:80/", "port"),
    ("https://example.com:0/", "port"),
    ("https://example.com:6379/", "port"),
    ("https://user:password@example.com/", "userinfo"),
    ("https://user@example.com/", "userinfo"),
    ("https://:@example.com/", "userinfo"),
    ("https://example.com\\@127.0.0.1/", "userinfo"),
    ("https:///path", "host"),
    ("https:example.com", "host"),
    ("https://intranet/", "host"),
    ("https://localhost/", "host"),
    ("https://example.com./", "host"),
    ("https://.example.com/", "host"),
    ("https://a..b/", "host"),
    ("https://exa%6dple.com/", "host"),
    ("https://exa mple.com/", "host"),
    ("https://127.0.0.1%2f.example.com/", "host"),
    (f"https://{'a' * 64}.com/", "host"),
    (f"https://{'a.' * 127}com/", "host"),
    ("https://xn--a.com/", "host"),
    ("https://printer.local/", "host"),
    ("https://metadata.google.internal/", "host"),
    ("https://app.localhost/", "host"),
    ("https://nowhere.example.org/", "unresolved"),
]
LITERALS = [
    "127.0.0.1", "8.8.8.8", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]",
    "[2606:4700:4700::1111]", "[::]", "2130706433", "0x7f000001", "127.1", "0x7f.1", "017700000001", "0", "0.0",
    "127.0.0.1.", "0X7F.1", "0x", "1.2.3", "4294967295", "127.0.0.0x1", "example.1", "127\u30020\uff0e0\uff611",
]  # fmt: skip


@pytest.mark.parametrize(("url", "reason"), FORMS)
async def test_a_url_of_another_form_is_refused(url: str, reason: str) -> None:
    everywhere = Table({})
    assert await refusal(Guard(resolver=everywhere), url) == reason
    assert reason == "unresolved" or not everywhere.asked


@pytest.mark.parametrize("host", LITERALS)
async def test_an_address_is_no_name_in_any_notation_and_nobody_is_asked(host: str) -> None:
    nobody = Table({})
    assert await refusal(Guard(resolver=nobody), f"https://{host}/") == "address"
    assert nobody.asked == []


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


async def test_the_first_of_public_addresses_is_the_one_to_call() -> None:
    table = always(example=[PUBLIC_V6, PUBLIC_V4])
    for url in ("https://example.com/a?b=c#d", "HTTPS://EXAMPLE.com:443/"):
        assert await Guard(resolver=table).address_of(httpx.URL(url)) == PUBLIC_V6
    assert table.asked == [("example.com", 443)] * 2


async def test_a_name_in_other_letters_is_resolved_as_the_dns_writes_it() -> None:
    table = Table({"xn--exmple-cua.com": [[PUBLIC_V4]]})
    assert await Guard(resolver=table).address_of(httpx.URL("https://ex\u00e4mple.com/")) == PUBLIC_V4


async def test_a_name_without_addresses_is_not_found() -> None:
    assert await refusal(Guard(resolver=always(example=[])), "https://example.com/") == "unresolved"


@pytest.mark.parametrize("error", [TimeoutError(), OSError(), UnicodeError("label too long"), socket.gaierror(-2, "")])
async def test_whatever_the_resolver_meets_the_name_is_not_found(error: Exception) -> None:
    async def fail(host: str, port: int) -> list[str]:
        raise error

    assert await refusal(Guard(resolver=fail), "https://example.com/") == "unresolved"


async def test_with_hosts_only_these_and_their_subdomains_are_called() -> None:
    table = always(example=[PUBLIC_V4], cdn_example=[PUBLIC_V4], badexample=[PUBLIC_V4])
    table.answers["example.com.evil.org"] = [[PUBLIC_V4]]
    guard = Guard(resolver=table, hosts=("example.com", "files.example.org"))
    for host in ("example.com", "cdn.example.com"):
        assert await guard.address_of(httpx.URL(f"https://{host}/")) == PUBLIC_V4
    for host in ("badexample.com", "example.com.evil.org", "example.org"):
        assert await refusal(guard, f"https://{host}/") == "host"
    assert await refusal(Guard(resolver=table, hosts=()), "https://example.com/") == "host"


LOCAL = Table({"localhost": [["127.0.0.1", "::1"]], "127.0.0.1": [["127.0.0.1"]], "::1": [["::1"]]})


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:8080", "127.0.0.1:1", "[::1]:8443"])
async def test_this_machine_is_called_only_where_that_is_allowed(scheme: str, host: str) -> None:
    url = f"{scheme}://{host}/"
    assert await Guard(True, LOCAL, hosts=("example.com",)).address_of(httpx.URL(url)) in ("127.0.0.1", "::1")
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


async def test_resolving_ends_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    monkeypatch.setattr(egress, "RESOLVE_TIMEOUT", 0.01)
    assert await refusal(Guard(), "https://example.com/") == "unresolved"


async def test_a_caller_who_gives_up_meanwhile_is_not_held() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with guarded_client(Guard(resolver=never), TIMEOUT) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.get("https://example.com/")


# What arrives at a socket


@dataclass
class Endpoint:
    """A server on this machine, and the heads of the requests that came, each with the port it came from."""

    port: int
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    heads: list[str] = field(default_factory=list)
    came_from: list[int] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)  # that TLS was asked for


@asynccontextmanager
async def endpoint(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Endpoint]:
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
    server = await asyncio.start_server(serve, host, 0, ssl=tls)
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
    """Sends every host to this machine, to see what the transport does with names."""

    async def address_of(self, url: httpx.URL) -> str:
        return "127.0.0.1"


async def test_host_and_path_arrive_as_they_were_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise AssertionError("resolved again")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
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
    """Notes where sockets would go, and opens none."""

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
        assert sockets.opened == [(address, 443)] and len(table.asked) == 1
        with pytest.raises(EgressRefused):
            await client.get("https://example.com/")
    assert len(sockets.opened) == 1 and len(table.asked) == 2


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


async def test_nothing_is_built_before_the_first_request() -> None:
    transport = GuardedTransport(Guard())
    await transport.aclose()
    assert transport._built is None


@dataclass
class Authority:
    """A certificate authority of the test's own."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    name: x509.Name = field(
        default_factory=lambda: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "An authority in tests")])
    )

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @property
    def certificate(self) -> str:
        return self._signed(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None)).decode()

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs to believe this authority, and nobody else."""
        return ssl.create_default_context(cadata=self.certificate)

    def server(self, name: x509.GeneralName) -> ssl.SSLContext:
        """What a server needs to be believed to be of this name."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = self._signed(x509.Name([]), key, x509.SubjectAlternativeName([name]))
        file = self.folder / "server.pem"
        file.write_bytes(
            pem
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


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
        with pytest.raises(httpx.ConnectError, match="Hostname mismatch"):
            await client.get(f"https://hooks.example.com:{there.port}/")
    assert there.heads == []


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
async def test_a_refused_hook_is_told_why_in_one_sentence(url: str, sentence: str) -> None:
    guard = Guard(resolver=always(example=[PUBLIC_V4], private=["10.0.0.1"]))
    with pytest.raises(InvalidRequest) as caught:
        await check_hook_url(url, guard)
    assert (caught.value.detail, caught.value.field, caught.value.http_status) == (sentence, "hook_url", 422)


def test_each_reason_of_a_guard_has_its_sentence() -> None:
    assert set(SENTENCES) == set(MESSAGES) - {"redirect"}
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
    async def anywhere(host: str, port: int) -> list[str]:
        return [PUBLIC_V4]

    addresses = HookAddresses(Guard(resolver=anywhere))
    for number in range(300):
        await addresses.check(f"https://h{number}.example.com/")
    assert len(addresses._answers._values) == 256


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
@settings(max_examples=1000, deadline=None)
def test_whatever_text_is_given_as_url_it_is_accepted_or_refused(url: str) -> None:
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
            assert await guard.address_of(parsed) == PUBLIC_V4
        except EgressRefused as refused:
            assert refused.reason in MESSAGES
        else:
            assert parsed.scheme == "https" and "." in parsed.host and not parsed.userinfo

    asyncio.run(try_it())
