"""Calls signed by QStash: a JWT over the address and the body's hash (Upstash, QStash: "Verify Signatures")."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from shared.errors import Unauthenticated

HEADER = "upstash-signature"
TOLERANCE = 30  # s by which the two clocks may differ
CLAIMS = ["iss", "sub", "exp", "nbf", "body"]
MAX_TOKEN = 4096  # characters
REFUSED = "The call carries no valid signature of QStash."


def signed_hash(token: str, url: str, keys: Sequence[str], now: int) -> str:
    """Returns the hash of the body in the token, if a key signed it for this address, and it is valid now (ms).

    Raises Unauthenticated otherwise, and no other error. Times are checked here, because the library's clock cannot be
    replaced.
    """
    import jwt  # only deployments that QStash calls need it

    for key in keys:
        try:
            claims: dict[str, Any] = jwt.decode(
                token[:MAX_TOKEN],
                key,
                algorithms=["HS256"],
                issuer="Upstash",
                options={"require": CLAIMS, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.PyJWTError:
            continue
        if _holds(claims, url, now / 1000):
            return str(claims["body"])
    raise Unauthenticated(REFUSED)


def verify_body(body: bytes, signed: str) -> None:
    """Raises Unauthenticated unless the body has this hash."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")
    if not hmac.compare_digest(signed.rstrip("=").encode("utf-8", "replace"), digest.encode()):
        raise Unauthenticated(REFUSED)


def _holds(claims: dict[str, Any], url: str, now: float) -> bool:
    begins, ends, signed = claims["nbf"], claims["exp"], claims["body"]
    if not (isinstance(begins, int) and isinstance(ends, int) and isinstance(signed, str)):
        return False
    # The query may carry Vercel's protection bypass, which is not part of the address.
    address = str(claims["sub"]).partition("?")[0]
    return address == url and begins - TOLERANCE <= now <= ends + TOLERANCE
