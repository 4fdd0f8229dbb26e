"""The body and headers of one event, as Standard Webhooks requires them (specification, "Payload structure")."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import TypedDict, cast

from shared.clock import iso
from shared.config.hooks import Event, HookOptions
from shared.config.settings import Settings
from shared.signing.webhooks import sign

MAX_BYTES = 20_000  # of a body (Standard Webhooks: "payload size should be kept below 20kb")
MAY_BE_LEFT_OUT = ("output", "files", "jobs", "metadata", "error")  # of a body that is too large, the largest first


class NotedTry(TypedDict):
    """A try in an event's log: one line of JSON; ``at`` in ms."""

    at: int
    status: int | None
    duration_ms: int
    answer: str
    error: str | None


def event_type(event: str) -> Event:
    """Returns the public name, such as ``job.completed``; each round of a batch ends with ``batch.completed``."""
    return "batch.completed" if event.startswith("batch") else cast(Event, f"job.{event}")


def event_body(event: str, happened_at: int, data: Mapping[str, object]) -> bytes:
    """Returns the event's body, at most 20 KB; its ``omitted`` names the members of ``data`` that did not fit."""
    document = {"type": event_type(event), "timestamp": iso(happened_at), "data": data}
    body, omitted = _json(document), list[str]()
    while len(body) > MAX_BYTES and (left := [name for name in MAY_BE_LEFT_OUT if data.get(name)]):
        omitted.append(max(left, key=lambda name: len(_json({name: data[name]}))))
        data = {**data, omitted[-1]: None, "omitted": omitted}
        body = _json({**document, "data": data})
    return body


def headers(settings: Settings, owner: str, event_id: str, now: int, body: bytes) -> Mapping[str, str]:
    """Returns the headers of one try at ``now`` (ms): a constant id, a new timestamp, a signature by each secret."""
    stamp = now // 1000
    # mutant: signatures
    signatures = " ".join(sign(secret, event_id, stamp, body) for secret in secrets_of(settings, owner))
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signatures,
    }


def traced(sent: Mapping[str, str], traceparent: str) -> Mapping[str, str]:
    """Returns the headers with the job's trace, if it carries one (W3C Trace Context)."""
    return {**sent, "traceparent": traceparent} if traceparent else sent


def attributes_of_answer(status: int | None, error: str | None) -> dict[str, str | int]:
    """Returns what the span of a try says of the endpoint's answer."""
    failed = error or (str(status) if status is not None and status >= 400 else "")
    known: dict[str, str | int] = {} if status is None else {"http.response.status_code": status}
    return {**known, "error.type": failed} if failed else known


def secrets_of(settings: Settings, owner: str) -> tuple[str, ...]:
    """Returns the secrets that sign for an API key: those in HOOKS, or one derived from SIGNING_SECRET."""
    named = settings.hooks.get(owner, HookOptions()).secrets
    if named:
        return tuple(secret.get_secret_value() for secret in named)
    key = hmac.new(settings.signing_key.encode(), b"hook\0" + owner.encode(), hashlib.sha256).digest()
    return ("whsec_" + base64.b64encode(key).decode(),)


def _json(document: Mapping[str, object]) -> bytes:
    """Returns JSON in UTF-8, in which most scripts take a third of what escapes take."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can carry
        return json.dumps(document, separators=(",", ":")).encode()
