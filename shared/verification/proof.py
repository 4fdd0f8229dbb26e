"""Proofs that an address was verified: JWTs that the application verifies offline with a key of its own.

    iss  sluice             sub, email      the address, in lower case
    aud  the API key's name  email_verified  true
    iat, exp                jti             another for each proof

The key is symmetric and belongs to one API key's name, so no application can make a proof for another one.
"""

import secrets

from shared.frozen import dataclass
from shared.signing.derived import proof_key

ALGORITHM = "HS256"
ISSUER = "sluice"
PROOF_LIFE = 600  # s; time to hand it on, as much as a code has


@dataclass(frozen=True)
class Proof:
    """A signed token, and the end of its life in s since 1970."""

    token: str
    expires_at: int


def make_proof(signing_secret: str, owner: str, email: str, now: int) -> Proof:
    """Returns a proof for an address that was verified now (ms)."""
    import jwt  # only a right code needs it

    issued_at = now // 1000
    claims = {
        "iss": ISSUER,
        "aud": owner,
        "sub": email,
        "email": email,
        "email_verified": True,
        "iat": issued_at,
        "exp": issued_at + PROOF_LIFE,
        "jti": secrets.token_hex(16),
    }
    token = jwt.encode(claims, proof_key(signing_secret, owner), algorithm=ALGORITHM)
    return Proof(token, issued_at + PROOF_LIFE)
