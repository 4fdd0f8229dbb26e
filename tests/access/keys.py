"""Key pairs of issuers in tests, and the key set that an issuer publishes on this machine."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.access.issuing import CLAIMS

KINDS = ("RS256", "ES256", "EdDSA")


@functools.cache
def private_key(kind: str, number: int = 0) -> Any:
    """A key pair of this kind, the same for the same number; 'RS256 short', 'ES384' are of kinds that are refused."""
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if kind in ("ES256", "ES384"):
        return ec.generate_private_key(ec.SECP256R1() if kind == "ES256" else ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=1024 if kind == "RS256 short" else 2048)


def pem(kind: str, number: int = 0) -> str:
    """The public key of such a pair in PEM."""
    public = private_key(kind, number).public_key()
    text: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def signed_by(kind: str, number: int = 0, *, kid: str | None = None, **claims: Any) -> str:
    """A token that the pair signs."""
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(CLAIMS | claims, private_key(kind, number), kind, headers=headers)


def jwk(kind: str, kid: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    """The public key of such a pair as a JWK."""
    algorithm = jwt.get_algorithm_by_name(kind.partition(" ")[0])
    found: dict[str, Any] = json.loads(algorithm.to_jwk(private_key(kind, number).public_key()))
    return found | {"kid": kid} | changes


@dataclass
class Issuer:
    """An issuer's key set on this machine; a test changes what it answers, and counts the questions."""

    url: str
    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    asked: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        head = f"HTTP/1.1 {self.status} OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def issuer(*keys: dict[str, Any]) -> AsyncIterator[Issuer]:
    """An issuer that publishes these keys."""
    made = Issuer("", list(keys))
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
    async with server:
        yield made
