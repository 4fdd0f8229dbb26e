"""Ids and tags that are derived from SIGNING_SECRET: the same each time, unguessable for others, and never stored."""

import hashlib
import hmac


def nonce(signing_secret: str, job_id: str, attempt: int) -> str:
    """What the webhook URL of this attempt carries.

    A provider signs the body and not the URL: without the nonce a captured delivery could be sent again under another
    job's id.
    """
    return _derived(signing_secret, "webhook", job_id, str(attempt))


def nonce_is_valid(given: str, signing_secret: str, job_id: str, attempt: int) -> bool:
    """Compares in constant time, on bytes: compare_digest raises on text beyond ASCII."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), nonce(signing_secret, job_id, attempt).encode())


def job_id_for(signing_secret: str, caller: str, idempotency_key: str) -> str:
    """The id of the job that this caller submits under this key; the same each time, and unguessable for others."""
    return "job_" + _derived(signing_secret, "job", caller, idempotency_key)


def batch_id_for(signing_secret: str, caller: str, idempotency_key: str) -> str:
    """The id of the batch that this caller submits under this key."""
    return "bat_" + _derived(signing_secret, "batch", caller, idempotency_key)


def redriven_id(signing_secret: str, job_id: str) -> str:
    """The id of the job that a redrive makes of this one; the same each time, so that it makes one job and no more."""
    return "job_" + _derived(signing_secret, "redrive", job_id)


def event_id_for(signing_secret: str, holder: str, event: str) -> str:
    """The id of a job's or batch's event; the same at each try, by which its receiver knows it again."""
    return "evt_" + _derived(signing_secret, "event", holder, event)


def page_tag(signing_secret: str, *parts: str) -> str:
    """What shows that a place to go on from was given out by this deployment, for the walk that the parts name."""
    return _derived(signing_secret, "page", *parts)


def file_tag(signing_secret: str, method: str, key: str, expires: int, *conditions: str) -> str:
    """What lets a URL of the deployment's own file route do ``method`` to a key until ``expires`` (s since the epoch).

    The conditions are whatever else the URL is held to, in an order of their own: an upload's type and size, say.
    """
    return _derived(signing_secret, "file", method, key, str(expires), *conditions)


def _derived(secret: str, *parts: str) -> str:
    # Lengths in front of the parts: ("a", "bc") and ("ab", "c") must differ.
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()[:32]
