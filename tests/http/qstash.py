"""Tokens of QStash in tests, made by an independent library."""

import base64
import hashlib
from typing import Any

import jwt

CURRENT, NEXT = "sig_current_key_of_the_account_in_tests", "sig_next_key_of_the_account_in_tests"
URL = "https://sluice.test/api/process-queue"
NOW = 1_800_000_000


def hashed(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()


def token(key: str = CURRENT, body: bytes = b"", now: int = NOW, **changes: Any) -> str:
    """A token as QStash sends it: its documented claims, signed by an independent library."""
    claims = {
        "iss": "Upstash", "sub": URL, "iat": now, "nbf": now, "exp": now + 300, "jti": "jwt_1", "body": hashed(body),
    } | changes  # fmt: skip
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm="HS256")
