"""Webhooks as Replicate sends them: signed, and repeated until about a minute after completion.

Replicate's webhook pages: only the terminal event is repeated, on a failed connection or a 4xx/5xx answer, with
exponential backoff. Redirects are not followed. Every repetition carries the same `webhook-id`. Replicate does not
document whether an `aborted` prediction sends its webhook; here it does. WaveSpeed does not document how often it
repeats one; here it repeats as Replicate does.
"""

import base64
import hashlib
import hmac
import json
import math
import secrets
from collections.abc import Callable
from typing import Any

import httpx

from local.simulator.clock import Clock
from local.simulator.prediction import Delivery, Event, Prediction

GIVE_UP_S = 65
"""No repetition starts later than this after completion; as gaps double, the last one comes at 63 s."""

_TIMEOUT_S = 10


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Returns the `webhook-signature` value of the Standard Webhooks specification, symmetric scheme v1."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def signature_v3(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Returns WaveSpeed's `webhook-signature`: the secret's text, undecoded, is the key, and the digest is hex."""
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return "v3," + hmac.new(secret.removeprefix("whsec_").encode(), content, hashlib.sha256).hexdigest()


class Courier:
    """Follows predictions and sends their webhooks."""

    def __init__(self, clock: Clock, sign: Callable[[str, int, bytes], str]) -> None:
        self._clock = clock
        self._sign = sign
        # A new connection for each request, without a limit: a pool's faults would look like the receiver's.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def follow(self, prediction: Prediction) -> None:
        """Sends each event that the create call asked for when it is due, and returns after the last one."""
        if prediction.webhook is None or prediction.behaviour.webhook == "lose":
            return
        events = prediction.events
        if "start" in events:
            await self._during(prediction, prediction.starts_at, "start")
        if "logs" in events:
            await self._during(prediction, prediction.starts_at + prediction.seconds / 2, "logs")
        await self._clock.reach(lambda: prediction.ending.at)
        if "output" in events and prediction.ending.status == "succeeded":
            await self._send(prediction, "output", _new_id(), _output_body(prediction))
        if "completed" in events:
            await self._send_completed(prediction)

    async def _during(self, prediction: Prediction, moment: float, event: Event) -> None:
        await self._clock.reach(lambda: min(moment, prediction.ending.at))
        if prediction.has_started(moment) and moment <= prediction.ending.at:
            await self._send(prediction, event, _new_id(), prediction.shown(moment))

    async def _send_completed(self, prediction: Prediction) -> None:
        behaviour, completed_at = prediction.behaviour, prediction.ending.at
        if behaviour.webhook in ("delay", "late"):
            await self._clock.reach(lambda: completed_at + behaviour.webhook_delay)
        webhook_id, body = _new_id(), prediction.shown(completed_at)
        if behaviour.webhook == "duplicate":
            await self._send(prediction, "completed", webhook_id, body)
        gap = 1.0
        while not await self._send(prediction, "completed", webhook_id, body):
            due = self._clock.now() + gap
            if due > completed_at + GIVE_UP_S:
                return
            await self._clock.reach(lambda due=due: due)  # type: ignore[misc]
            gap *= 2

    async def _send(self, prediction: Prediction, event: Event, webhook_id: str, shown: dict[str, Any]) -> bool:
        body = json.dumps(shown).encode()
        # A receiver compares the timestamp with its own clock, which `advance` does not move.
        timestamp = math.floor(self._clock.real())
        headers = {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._sign(webhook_id, timestamp, body),
        }
        status_code, error = None, None
        try:
            answer = await self._client.post(str(prediction.webhook), content=body, headers=headers)
            status_code = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            error = type(failure).__name__
        prediction.deliveries.append(Delivery(event, webhook_id, self._clock.now(), status_code, error))
        if event == "completed":
            prediction.is_announced.set()
        return status_code is not None and status_code < 400


def _new_id() -> str:
    return "msg_" + secrets.token_urlsafe(20)


def _output_body(prediction: Prediction) -> dict[str, Any]:
    """Returns the object with its output, before completion."""
    shown = prediction.shown(prediction.ending.at)
    return {**shown, "status": "processing", "completed_at": None, "metrics": {}}
