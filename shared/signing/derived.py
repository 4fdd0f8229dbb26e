"""Ids and tags derived from SIGNING_SECRET: the same each time, never stored, and others cannot guess them."""

import base64
import hashlib
import hmac


def nonce(signing_secret: str, provider: str, job_id: str, attempt: int, incarnation: str) -> str:
    """Returns the nonce that the webhook URL carries: it ties an attempt to its provider and to one life of its job.

    A provider signs the body, but not the URL. Without the nonce, a captured delivery could be sent again with another
    job's id, or to another provider's path. Without the incarnation, a delivery for a deleted job would be one for the
    job that has its id now.
    """
    return _derived(signing_secret, "webhook", provider, job_id, str(attempt), incarnation)  # mutant: nonce


def nonce_is_valid(given: str, signing_secret: str, provider: str, job_id: str, attempt: int, incarnation: str) -> bool:
    """Whether the nonce belongs to this attempt. Compares bytes: compare_digest raises on text beyond ASCII."""
    right = nonce(signing_secret, provider, job_id, attempt, incarnation)
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


def job_id_for(signing_secret: str, caller: str, idempotency_key: str, user: str | None = None) -> str:
    """Returns the id of the job that this caller submits with this key: the same each time.

    A ``user`` who submits with a token has keys of their own: those of two users, and of the application, never meet.
    """
    return "job_" + _derived(signing_secret, "job", caller, idempotency_key, *_of_user(user))


def batch_id_for(signing_secret: str, caller: str, idempotency_key: str, user: str | None = None) -> str:
    """Returns the id of the batch that this caller, or this user of the caller, submits with this key."""
    return "bat_" + _derived(signing_secret, "batch", caller, idempotency_key, *_of_user(user))


def redriven_id(signing_secret: str, job_id: str, incarnation: str) -> str:
    """Returns the id of the job that a redrive creates: the same each time, so repeated redrives create one job."""
    return "job_" + _derived(signing_secret, "redrive", job_id, incarnation)


def event_id_for(signing_secret: str, holder: str, incarnation: str, event: str) -> str:
    """Returns the id of a job's or batch's event: the same at each try, so a receiver recognizes a repeat."""
    return "evt_" + _derived(signing_secret, "event", holder, incarnation, event)


def payer_tag(signing_secret: str, owner: str, user: str) -> str:
    """Returns the name of the account of a user of an API key: after an erasure, nothing says whose it was."""
    return _derived(signing_secret, "payer", owner, user)[:16]  # mutant: payer


def page_tag(signing_secret: str, *parts: str) -> str:
    """Returns the tag of a page's cursor, which shows that this deployment issued it for this very listing."""
    return _derived(signing_secret, "page", *parts)


def page_pad(signing_secret: str, tag: str, size: int) -> bytes:
    """Returns the bytes that hide what a cursor of this tag holds, and show it again: they depend on all of it."""
    seed = _digest(signing_secret, "page pad", tag)
    return hashlib.shake_256(seed.encode()).digest(size)


def file_tag(signing_secret: str, method: str, key: str, expires: int, *conditions: str) -> str:
    """Returns the tag of a URL of this deployment's file route: it allows ``method`` on a key until ``expires`` (s).

    The conditions are what else the URL requires, in a fixed order: an upload's type and size, for example.
    """
    return _derived(signing_secret, "file", method, key, str(expires), *conditions)


def token_key(signing_secret: str) -> bytes:
    """Returns the key that signs tokens of users, and nothing else."""
    return hmac.new(signing_secret.encode(), b"sluice: tokens of users", hashlib.sha256).digest()


def address_tag(signing_secret: str, address: str) -> str:
    """Returns what stands for a caller's address in the log: the same each time, and no way back to the address."""
    return _derived(signing_secret, "address", address)[:12]


def email_tag(signing_secret: str, owner: str, address: str) -> str:
    """Returns what stands for an e-mail address in the store, for one owner: no way leads back to the address."""
    return _derived(signing_secret, "email", owner, address)


def client_tag(signing_secret: str, owner: str, network: str) -> str:
    """Returns what stands for a client's network address in the store, for one owner."""
    return _derived(signing_secret, "client", owner, network)


def code_tag(signing_secret: str, owner: str, address: str, code: str) -> str:
    """Returns what stands for a verification code in the store: without the secret, a million codes cannot be tried."""
    return _derived(signing_secret, "code", owner, address, code)


def proof_key(signing_secret: str, owner: str) -> str:
    """Returns the key that signs an owner's proofs of verified addresses: 64 hexadecimal characters, for HS256."""
    return _digest(signing_secret, "proof", owner)


def user_tag(signing_secret: str, owner: str, user: str) -> str:
    """Returns what stands for a user in the audit: the same each time, and no way back to the user's id."""
    return "user_" + _derived(signing_secret, "user", owner, user)[:16]


def alert_secret(signing_secret: str) -> str:
    """Returns the secret that signs alerts: ``whsec_`` and base64, as Standard Webhooks has it."""
    key = hmac.new(signing_secret.encode(), b"sluice: alerts", hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(key).decode()


def number_for(signing_secret: str, *parts: str) -> int:
    """Returns a number of 128 bits for these parts."""
    return int(_derived(signing_secret, *parts), 16)


def _of_user(user: str | None) -> tuple[str, ...]:
    return () if user is None else (user,)  # mutant: keys of users


def _derived(secret: str, *parts: str) -> str:
    return _digest(secret, *parts)[:32]


def _digest(secret: str, *parts: str) -> str:
    # Each part follows its length: ("a", "bc") and ("ab", "c") must differ.
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
