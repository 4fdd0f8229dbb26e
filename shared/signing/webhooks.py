"""Signatures of webhooks: verifies those of providers, and signs those that Sluice sends.

Two schemes sign ``id.timestamp.body`` with HMAC-SHA256. They send versioned digests, separated by spaces:

    v1,<base64>  keyed with the base64-decoded secret: Standard Webhooks (specification, "Signature scheme"); Replicate
    v3,<hex>     keyed with the secret's text after whsec_, not decoded: WaveSpeed (its page on verifying webhooks)
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence

from shared.errors import Unauthenticated
from shared.frozen import dataclass

MAX_SIGNATURES = 16


@dataclass(frozen=True)
class Scheme:
    """One version of signatures: how a secret becomes a key, and how a digest is written and read.

    ``key`` and ``read`` raise ValueError.
    """

    version: str
    key: Callable[[str], bytes]
    write: Callable[[bytes], str]
    read: Callable[[str], bytes]


def secret_key(secret: str) -> bytes:
    """Returns the HMAC key that a ``whsec_`` secret encodes in v1; raises ValueError for any other text."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:  # binascii.Error, or text beyond ASCII
        key = b""
    if not key:
        raise ValueError("a webhook secret is whsec_ followed by base64")
    return key


def secret_text(secret: str) -> bytes:
    """Returns the HMAC key of a secret in v3; raises ValueError for an empty one, which would protect nothing."""
    key = secret.removeprefix("whsec_").encode("utf-8", "surrogateescape")
    if not key:
        raise ValueError("a webhook secret is whsec_ followed by text")
    return key


def _to_base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


V1 = Scheme("v1", secret_key, _to_base64, _from_base64)
V3 = Scheme("v3", secret_text, bytes.hex, bytes.fromhex)


def sign(secret: str, message_id: str, timestamp: int, body: bytes, scheme: Scheme = V1) -> str:
    """Returns the ``webhook-signature`` value for a body; ``secret`` begins with ``whsec_``."""
    return f"{scheme.version},{scheme.write(_digest(scheme.key(secret), message_id, str(timestamp), body))}"


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    *,
    now: int,
    tolerance: float,
    scheme: Scheme = V1,
) -> None:
    """Returns if one of the secrets signed this body within ``tolerance`` s of ``now`` (ms).

    Raises Unauthenticated otherwise, and no other error for any headers.
    """
    message_id, stamp, candidates = read_headers(headers, now=now, tolerance=tolerance, scheme=scheme)
    for secret in secrets:
        expected = _digest(scheme.key(secret), message_id, stamp, body)
        if any(hmac.compare_digest(expected, candidate) for candidate in candidates):
            return
    raise Unauthenticated("The webhook carries no valid signature.")


def read_headers(
    headers: Mapping[str, str], *, now: int, tolerance: float, scheme: Scheme = V1
) -> tuple[str, str, list[bytes]]:
    """Returns the message's id, its timestamp, and the digests that it carries.

    Raises Unauthenticated if no body could make these headers valid: no digest, or a timestamp outside the tolerance.
    """
    message_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    parts = headers.get("webhook-signature", "").split(" ")[:MAX_SIGNATURES]
    candidates = [digest for part in parts if (digest := _candidate(part, scheme))]
    if not message_id or not candidates or not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise Unauthenticated("The webhook carries no valid signature.")
    if abs(now / 1000 - int(stamp)) > tolerance:  # mutant: age
        raise Unauthenticated("The webhook's timestamp is outside the tolerance.")
    return message_id, stamp, candidates


def _candidate(part: str, scheme: Scheme) -> bytes:
    """Returns the digest of one ``version,digest``; empty for any other text, which matches no digest."""
    version, _, written = part.partition(",")
    if version != scheme.version:
        return b""
    try:
        return scheme.read(written)
    except ValueError:
        return b""


def _digest(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    # Header values arrive decoded from latin-1. With surrogateescape, even broken ones do not raise.
    prefix = f"{message_id}.{timestamp}.".encode("utf-8", "surrogateescape")
    return hmac.new(key, prefix + body, hashlib.sha256).digest()
