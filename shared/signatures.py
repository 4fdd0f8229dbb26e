"""Signatures of webhooks, and the nonce that ties a webhook to the attempt it was made for.

The scheme is Standard Webhooks (specification, "Signature scheme"): HMAC-SHA256 over ``id.timestamp.body`` with the
base64-decoded secret, sent as ``v1,<base64>`` in a list separated by spaces. Replicate uses it unchanged. The nonce
is ours: a provider signs the body and not the URL, so without it a captured delivery could be sent again under another
job's id.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from shared.errors import Unauthenticated

MAX_SIGNATURES = 16


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` value for a body; ``secret`` is ``whsec_`` and base64."""
    return "v1," + base64.b64encode(_digest(secret_key(secret), message_id, str(timestamp), body)).decode()


def secret_key(secret: str) -> bytes:
    """The HMAC key that a ``whsec_`` secret stands for; raises ValueError when it is none."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:  # binascii.Error is one; text beyond ASCII is another
        key = b""
    if not key:
        raise ValueError("a webhook secret is whsec_ followed by base64")
    return key


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], *, now: int, tolerance: float) -> None:
    """Returns if one of the secrets signed this very body within ``tolerance`` s of ``now`` (ms); else Unauthenticated.

    Whatever the headers hold, no other error leaves here.
    """
    message_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    candidates = [_candidate(part) for part in headers.get("webhook-signature", "").split(" ")[:MAX_SIGNATURES]]
    if not message_id or not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise Unauthenticated("The webhook carries no valid signature.")
    if abs(now / 1000 - int(stamp)) > tolerance:
        raise Unauthenticated("The webhook's timestamp is outside the tolerance.")
    for secret in secrets:
        expected = _digest(secret_key(secret), message_id, stamp, body)
        if any(hmac.compare_digest(expected, candidate) for candidate in candidates):
            return
    raise Unauthenticated("The webhook carries no valid signature.")


def _candidate(part: str) -> bytes:
    """The bytes of one ``v1,<base64>``; empty, which equals no digest, for anything else."""
    version, _, encoded = part.partition(",")
    if version != "v1":
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        return b""


def _digest(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    # Header values reach us decoded from latin-1; surrogateescape keeps even broken ones from raising.
    prefix = f"{message_id}.{timestamp}.".encode("utf-8", "surrogateescape")
    return hmac.new(key, prefix + body, hashlib.sha256).digest()


def nonce(signing_secret: str, job_id: str, attempt: int) -> str:
    """What the webhook URL of this attempt carries; derived, so that it need not be stored."""
    return _derived(signing_secret, "webhook", job_id, str(attempt))


def nonce_is_valid(given: str, signing_secret: str, job_id: str, attempt: int) -> bool:
    """Compares in constant time, on bytes: compare_digest raises on text beyond ASCII."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), nonce(signing_secret, job_id, attempt).encode())


def job_id_for(signing_secret: str, caller: str, idempotency_key: str) -> str:
    """The id of the job that this caller submits under this key; the same each time, and unguessable for others."""
    return "job_" + _derived(signing_secret, "job", caller, idempotency_key)


def _derived(secret: str, *parts: str) -> str:
    # Lengths in front of the parts: ("a", "bc") and ("ab", "c") must differ.
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()[:32]
