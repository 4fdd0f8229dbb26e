"""The store's HTTP client against servers that answer in every way."""

import asyncio
import socket
import struct
from pathlib import Path

import pytest
from cryptography import x509

from shared.connection import trouble_of
from shared.store import connection
from shared.store.connection import AnswerLost
from shared.store.wire import NotSent, Wire
from shared.tls import tls_context
from tests.hooks.authority import Authority
from tests.queue.answering import OK, Reader, Server, Writer, client_of, post, request_of


async def test_requests_follow_each_other_on_one_connection() -> None:
    server = Server(OK)
    async with client_of(server.serve) as client:
        answers = [await post(client, ("SET", "k", "é")) for _ in range(3)]
    assert [answer.json() for answer in answers] == [{"result": 1}] * 3
    assert answers[0].headers.get("Upstash-Sync-Token") == "t1"
    assert server.connections == 1
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST / HTTP/1.1\r\n") and b"\r\nAuthorization: Bearer t" in head
    assert body == '["SET","k","é"]'.encode()


async def test_a_request_is_one_write() -> None:
    parts: list[bytes] = []

    async def serve(reader: Reader, writer: Writer) -> None:
        parts.append(await reader.read(100_000))
        writer.write(OK)

    async with client_of(serve) as client:
        await post(client)
    assert len(parts) == 1 and parts[0].endswith(b'["PING"]')


async def test_requests_at_once_have_a_connection_each() -> None:
    server = Server(OK)
    async with client_of(server.serve) as client:
        await asyncio.gather(*(post(client) for _ in range(5)))
        await asyncio.gather(*(post(client) for _ in range(5)))
    assert server.connections == 5


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{\"resu\r\n6\r\nlt\":1}\r\n0\r\n\r\n",
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"result":1}',
    ],
    ids=["chunked", "after an interim answer"],
)  # fmt: skip
async def test_answers_of_each_form_are_read(answer: bytes) -> None:
    server = Server(answer)
    async with client_of(server.serve) as client:
        assert [(await post(client)).json() for _ in range(2)] == [{"result": 1}] * 2
    assert server.connections == 1


async def test_an_answer_that_ends_with_its_connection_is_read() -> None:
    server = Server(b'HTTP/1.0 200 OK\r\n\r\n{"result":1}', closes=True)
    async with client_of(server.serve) as client:
        assert [(await post(client)).json() for _ in range(2)] == [{"result": 1}] * 2
    assert server.connections == 2


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    server = Server(OK, closes=True)
    async with client_of(server.serve) as client:
        await post(client)
        await asyncio.sleep(0.05)
        await post(client)
    assert server.connections == 2


async def test_a_close_that_came_while_the_process_was_frozen_is_seen() -> None:
    closed = asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        await request_of(reader)
        writer.write(OK)
        await writer.drain()
        closed.set()
        writer.transport.get_extra_info("socket").shutdown(1)  # at once, without the event loop

    async with client_of(serve) as client:
        await post(client)
        await closed.wait()
        assert not await client._idle[0].is_usable()


@pytest.mark.parametrize("is_read", [False, True], ids=["in the socket", "read by the event loop"])
@pytest.mark.parametrize("pause", [0, 0.05], ids=["at once", "later"])
async def test_what_comes_between_two_requests_is_no_answer_to_the_next(pause: float, is_read: bool) -> None:
    """As from a proxy that says 408 before it closes an idle connection."""
    server = Server(OK + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    spoken = asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        server.connections += 1
        while await request_of(reader) is not None:
            writer.write(OK)
            await asyncio.sleep(pause)
            writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            spoken.set()

    async with client_of(serve if pause else server.serve) as client:
        await post(client)
        await asyncio.sleep(0) if not pause else await spoken.wait()
        if is_read:
            await asyncio.sleep(0.1)
        assert (await post(client)).status_code == 200
    assert server.connections == 2


@pytest.mark.parametrize("status", [302, 401, 408, 500, 503])
async def test_a_status_that_a_proxy_may_have_said_ends_its_connection(status: int) -> None:
    server = Server(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status, OK)
    async with client_of(server.serve) as client:
        assert [(await post(client)).status_code for _ in range(2)] == [status, 200]
    assert server.connections == 2


@pytest.mark.parametrize("status", [400, 429])
async def test_an_error_of_the_store_itself_keeps_its_connection(status: int) -> None:
    server = Server(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status, OK)
    async with client_of(server.serve) as client:
        assert [(await post(client)).status_code for _ in range(2)] == [status, 200]
    assert server.connections == 1


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), None], ids=["ETIMEDOUT", "reset", "end"])
async def test_a_connection_that_was_lost_is_not_used_again(error: OSError | None) -> None:
    async with client_of(Server(OK).serve) as client:
        await post(client)
        client._idle[0].connection_lost(error)
        assert not await client._idle[0].is_usable()


async def test_a_socket_that_stays_readable_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a slow machine: time that passes is no sign that nothing has come."""
    spoken = asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        await request_of(reader)
        writer.write(OK)
        await spoken.wait()
        writer.write(OK)

    async with client_of(serve) as client:
        await post(client)
        kept = client._idle[0]
        kept._transport.pause_reading()  # the event loop reads nothing
        spoken.set()
        await asyncio.sleep(0.05)
        assert not await kept.is_usable()


async def test_an_error_in_the_middle_of_an_answer_loses_it() -> None:
    async def reset(reader: Reader, writer: Writer) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.05)
        linger = struct.pack("ii", 1, 0)  # SO_LINGER: closes with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with client_of(reset) as client:
        with pytest.raises(AnswerLost, match="ConnectionResetError"):
            await post(client)


async def test_an_old_connection_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(OK)
    async with client_of(server.serve) as client:
        await post(client)
        monkeypatch.setattr(connection, "IDLE_CONNECTION", -1.0)
        await post(client)
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{",
        b"\x15\x03\x01 not HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "a part", "no HTTP", "endless headers"],
)
async def test_a_broken_answer_is_lost_and_its_connection_dropped(answer: bytes) -> None:
    async with client_of(Server(answer, closes=True).serve) as client:
        with pytest.raises(AnswerLost):
            await post(client)
        assert not client._idle


async def test_a_large_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_ANSWER", 1_000)
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    async with client_of(Server(large).serve) as client:
        with pytest.raises(AnswerLost, match="too large"):
            await post(client)
        assert not client._idle


async def test_a_request_that_is_given_up_leaves_no_connection_for_the_next_one() -> None:
    async def hang(reader: Reader, writer: Writer) -> None:
        await request_of(reader)
        await asyncio.sleep(60)

    async with client_of(hang) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await post(client)
        assert not client._idle


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no.such.host.invalid", "http://127.0.0.1:99999"])
async def test_a_server_that_cannot_be_reached_got_nothing(url: str) -> None:
    with pytest.raises(NotSent):
        await post(Wire(url, None, 1.0))


async def test_a_token_that_no_header_can_hold_is_never_sent() -> None:
    server = Server(OK)
    async with client_of(server.serve) as client:
        with pytest.raises(NotSent):
            await client.post("http://127.0.0.1/", headers={"Authorization": "Bearer a\r\nb"}, json=[])
    assert not server.requests


async def connect(client: Wire) -> None:
    """Opens a connection that has served no request."""
    client._idle.append(await client._opened())


async def test_requests_over_tls_follow_each_other_on_one_connection(tmp_path: Path) -> None:
    authority, server = Authority(tmp_path), Server(OK)
    tls = authority.server(x509.DNSName("localhost"))
    async with client_of(server.serve, tls, authority.trust) as client:
        await connect(client)
        await asyncio.sleep(0.05)  # TLS 1.3's tickets come after the handshake, and are no reason to connect again
        answers = [await post(client) for _ in range(3)]
    assert [answer.json() for answer in answers] == [{"result": 1}] * 3
    assert server.connections == 1


async def test_a_ticket_that_came_while_the_process_was_frozen_closes_no_connection(tmp_path: Path) -> None:
    authority, server = Authority(tmp_path), Server(OK)
    tls = authority.server(x509.DNSName("localhost"))
    async with client_of(server.serve, tls, authority.trust) as client:
        await connect(client)  # the event loop has had no time to read the tickets
        await post(client)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("name", "is_trusted"), [("elsewhere.example", True), ("localhost", False)], ids=["wrong host", "untrusted"]
)
async def test_a_server_without_the_right_certificate_gets_nothing(tmp_path: Path, name: str, is_trusted: bool) -> None:
    authority, server = Authority(tmp_path), Server(OK)
    trust = authority.trust if is_trusted else tls_context()
    async with client_of(server.serve, authority.server(x509.DNSName(name)), trust) as client:
        with pytest.raises(NotSent) as refused:
            await post(client)
    words = trouble_of(refused.value, f"https://localhost:{client._address.port}")
    assert words.startswith("the certificate of localhost is not valid")
    assert not server.requests
