"""A model of Vercel's edge as functions and callers see it: https, deployment protection, and its own headers."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI, Request, Response

from shared.config.hosting import BYPASS

HOST = "127.0.0.1"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
HOP = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length", "host"))


@dataclass(frozen=True)
class Passed:
    """A request that passed the edge, and the status of its answer."""

    method: str
    path: str
    query: dict[str, str]
    status: int


@dataclass
class Edge:
    """Serves a function at an https address. ``protection`` is the secret that callers need, as on previews."""

    address: str
    trust: ssl.SSLContext
    protection: str | None = None
    function: str = ""  # the URL of the instance behind
    passed: list[Passed] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://{self.address}"


@contextmanager
def running_edge(folder: Path, protection: str | None = None) -> Iterator[Edge]:
    """Runs the edge on a free port until the block ends, with a certificate for this run alone."""
    certificate, key = make_certificate(folder)
    edge = Edge("", ssl.create_default_context(cafile=str(certificate)), protection)
    config = uvicorn.Config(
        _app(edge), host=HOST, port=0, ssl_certfile=str(certificate), ssl_keyfile=str(key),
        log_level="warning", access_log=False, lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="edge", daemon=True)
    thread.start()
    give_up_at = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive() and time.monotonic() < give_up_at, "the edge did not start"
        time.sleep(0.005)
    edge.address = f"{HOST}:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield edge
    finally:
        server.should_exit = True
        thread.join(20)


def _app(edge: Edge) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.api_route("/{path:path}", methods=METHODS)
    async def through(request: Request) -> Response:
        query = dict(request.query_params)
        if edge.protection is not None and edge.protection not in (query.get(BYPASS), request.headers.get(BYPASS)):
            answer = Response("Authentication Required", 401)
        else:
            answer = await _forward(edge, request)
        edge.passed.append(Passed(request.method, request.url.path, query, answer.status_code))
        return answer

    return app


async def _forward(edge: Edge, request: Request) -> Response:
    headers = {name: value for name, value in request.headers.items() if name not in HOP}
    headers |= {"host": edge.address, "x-forwarded-proto": "https", "x-vercel-id": "fra1::local"}
    # Vercel writes these itself, whatever the caller sends.
    assert request.client is not None
    headers |= dict.fromkeys(("x-forwarded-for", "x-vercel-forwarded-for", "x-real-ip"), request.client.host)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        got = await client.request(
            request.method, f"{edge.function}{request.url.path}", params=request.url.query.encode(),
            headers=headers, content=await request.body(),
        )  # fmt: skip
    kept = {name: value for name, value in got.headers.items() if name not in HOP and name != "content-encoding"}
    return Response(got.content, got.status_code, headers=kept)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Sluice's tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "edge.pem", folder / "edge.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, secret
