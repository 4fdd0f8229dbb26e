"""How the store's HTTP client connects: to any of the host's addresses, and without leaving a socket open."""

import asyncio
import gc
import socket
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from shared.store import wire
from tests.hooks.authority import Authority
from tests.queue.answering import OK, Reader, Server, Writer, client_of, post


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
async def test_a_connect_that_is_cancelled_at_any_moment_leaves_no_socket_open(tmp_path: Path, is_secure: bool) -> None:
    authority, server = Authority(tmp_path), Server(OK)
    tls, trust = (authority.server(x509.DNSName("localhost")), authority.trust) if is_secure else (None, None)
    served = set[Reader]()

    async def serve(reader: Reader, writer: Writer) -> None:
        served.add(reader)
        await server.serve(reader, writer)
        served.discard(reader)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        async with client_of(serve, tls, trust) as client:
            is_over, turns = False, 0
            while not is_over:
                asking = asyncio.ensure_future(post(client))
                for _ in range(turns):
                    await asyncio.sleep(0)
                is_over, turns = asking.done(), turns + 1
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                await client.aclose()
            async with asyncio.timeout(5):
                while served:
                    await asyncio.sleep(0)
        gc.collect()
    assert turns > 5
    assert [str(each.message) for each in caught] == []


async def test_a_call_that_is_cancelled_while_it_looks_at_a_kept_connection_closes_it() -> None:
    server = Server(OK)
    async with client_of(server.serve) as client:
        await post(client)
        (kept,) = client._idle
        looks = asyncio.Event()

        async def look() -> bool:
            looks.set()
            return await asyncio.Event().wait()

        kept.is_usable = look  # type: ignore[method-assign]
        asking = asyncio.ensure_future(post(client))
        await looks.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert kept._is_over()


async def test_the_next_address_is_tried_while_the_first_one_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    server, silent = Server(OK), socket.socket()
    monkeypatch.setattr(wire, "STAGGER", 0.01)
    async with client_of(server.serve) as client:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo("127.0.0.1", client._address.port, type=socket.SOCK_STREAM)

        async def resolve(*_: Any, **__: Any) -> Any:
            return [(*found[0][:4], ("127.0.0.1", 1)), (*found[0][:4], silent.getsockname()), *found]

        with silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(0)
            fill = socket.create_connection(silent.getsockname())  # its queue is full: the next one is not answered
            monkeypatch.setattr(loop, "getaddrinfo", resolve)
            assert (await post(client)).status_code == 200
            fill.close()
        await asyncio.sleep(0.01)
    assert server.connections == 1
