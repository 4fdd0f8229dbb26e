"""What the log says about a store and a provider that cannot be reached."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.connection import trouble_of
from shared.errors import StoreUnavailable
from shared.providers.base import ProviderUnavailable, Throttled
from shared.providers.calls import Calls, refusal_of
from shared.store.rest import RestStore
from tests.deploy.vercel_edge import make_certificate
from tests.deployment import free_port
from tests.logs import all_logs
from tests.world import settings_for

WANTED = {
    "host": "there is no host wrong.acme.dev",
    "resolver": "the name wrong.acme.dev cannot be looked up right now",
    "port": "nothing listens at 127.0.0.1:{port}",
    "certificate": "the certificate of localhost is not valid: self-signed certificate",
    "no TLS": "127.0.0.1:{port} does not speak TLS as expected: ",
}


def _unresolved(code: int) -> Callable[..., Any]:
    """Returns a resolver that knows no name. A real one may take its time to say so."""
    found = socket.getaddrinfo

    def look_up(host: Any, *more: Any, **named: Any) -> Any:
        if host in ("wrong.acme.dev", b"wrong.acme.dev"):
            raise socket.gaierror(code, "not found")
        return found(host, *more, **named)

    return look_up


async def _answer_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


@pytest.mark.parametrize("wrong", WANTED)
async def test_a_wrong_host_port_and_certificate_are_told_apart(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = socket.EAI_AGAIN if wrong == "resolver" else socket.EAI_NONAME
    monkeypatch.setattr(socket, "getaddrinfo", _unresolved(code))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*make_certificate(tmp_path))
    is_served = wrong in ("certificate", "no TLS")
    port = free_port()
    server = None
    if is_served:
        server = await asyncio.start_server(
            _answer_nothing, "127.0.0.1", port, ssl=tls if wrong == "certificate" else None
        )
    host = {"certificate": "localhost", "port": "127.0.0.1", "no TLS": "127.0.0.1"}.get(wrong, "wrong.acme.dev")
    url = f"https://{host}:{port}"
    store = RestStore(settings_for(None, upstash_redis_rest_url=url, upstash_redis_rest_token="token-of-the-test"))
    calls = Calls("replicate", url, SecretStr("key-of-the-test"), 5)
    try:
        with all_logs() as logs:
            with pytest.raises(StoreUnavailable):
                await store.execute("PING")
            assert isinstance(await calls.create("x", {}, 5, refusal_of), Throttled)
            with pytest.raises(ProviderUnavailable):
                await calls.ask("GET", "x", 5)
    finally:
        await store.close()
        await calls.close()
        if server is not None:
            server.close()
    said = [line["trouble"] for line in logs if "trouble" in line]
    assert len(said) == 2  # the provider's second one is counted, and would be written ten seconds later
    assert all(text.startswith(WANTED[wrong].format(port=port)) for text in said), said


@pytest.mark.parametrize("url", ["https://[bad", "https://host:port", ""])
def test_an_address_that_cannot_be_read_is_no_second_error(url: str) -> None:
    assert trouble_of(OSError(), url)


def test_an_error_without_a_known_cause_is_named() -> None:
    assert trouble_of(OSError("secret text"), "https://a.dev/x?y=z") == "a.dev:443 cannot be reached: OSError"
