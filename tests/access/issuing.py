"""Tokens of the tests: minted by the deployment, signed by the application's issuer, and forged ones."""

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx

from shared.clock import ManualClock
from tests.world import AUTH

NOW = ManualClock().now() // 1000
SECRET = "a-secret-of-the-issuer-in-tests-0123456789"
ISSUER, AUDIENCE = "https://issuer.test", "sluice-in-tests"
# Settings of a deployment that takes JWTs of the application's issuer; the keys of the tests have two names.
TAKES_JWTS: dict[str, Any] = {
    "jwt_secret": SECRET, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_owner": "app",
}  # fmt: skip
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": NOW, "exp": NOW + 900}


async def minted(client: httpx.AsyncClient, user: str = "ada", **asked: Any) -> str:
    """A token of this user, minted by the application's backend."""
    answer = await client.post("/api/tokens", json={"user_id": user, **asked}, headers=AUTH)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


async def user_of(client: httpx.AsyncClient, user: str = "ada", **asked: Any) -> dict[str, str]:
    """Headers of a user with all scopes, unless others are asked for."""
    wanted = {"scopes": ["read", "submit", "cancel"], **asked}
    return bearer(await minted(client, user, **wanted))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def part(content: Any) -> str:
    """One part of a token: JSON, or any bytes, in base64 for URLs."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed(claims: Any, header: dict[str, Any] | None = None, key: bytes = SECRET.encode()) -> str:
    """A token that HMAC-SHA-256 signs with this key, whatever its header says; not made by the library under test."""
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'} | (header or {}))}.{part(claims)}"
    return f"{text}.{part(hmac.new(key, text.encode(), hashlib.sha256).digest())}"


def issued(**claims: Any) -> str:
    """A token of the application's issuer; a claim of None is left out."""
    return signed({name: value for name, value in (CLAIMS | claims).items() if value is not None})
