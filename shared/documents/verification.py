"""What applications and the operator see of verification codes."""

from typing import TypedDict


class SentCode(TypedDict):
    """``POST /api/verification/send``: until when the code is valid, and when the address may get the next one."""

    email: str
    expires_at: str
    again_at: str


class VerifiedAddress(TypedDict):
    """``POST /api/verification/check``: a JWT, which proves the address until ``expires_at``."""

    email: str
    proof: str
    expires_at: str


class ProofKey(TypedDict):
    """``GET /api/verification/key``: what an application verifies its proofs with, without a call."""

    algorithm: str
    key: str
    issuer: str
    audience: str


class BlockedPage(TypedDict):
    """``GET /api/operate/blocked``: addresses and domains that get no code; not those of VERIFICATION_BLOCKED."""

    entries: list[str]
    next_cursor: str | None


class BlockedCount(TypedDict):
    """``PATCH /api/operate/blocked``: how many entries the list has."""

    count: int
