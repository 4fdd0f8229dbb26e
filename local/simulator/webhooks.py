"""Webhooks as Replicate sends them: signed, repeated until about a minute after completion, then given up.

Replicate's webhook pages: only the terminal event is repeated, on a failed connection or a 4xx/5xx answer, with
exponential backoff; redirects are not followed; every repetition carries the same `webhook-id`.
Whether an `aborted` prediction sends its webhook is not documented; here it does. How often WaveSpeed repeats one is
not documented either; here it does as Replicate.
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
"""No repetition starts later than this after completion; with doubling gaps the last one comes at 63 s."""

_TIMEOUT_S = 10


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Returns the `webhook-signature` value of the Standard Webhooks specification, symmetric scheme v1."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def signature_v3(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Returns WaveSpeed's value of it: the secret's text is the key, undecoded, and the digest is written in hex."""
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return "v3," + hmac.new(secret.removeprefix("whsec_").encode(), content, hashlib.sha256).hexdigest()


class Courier:
    """Follows predictions and tells their webhook URLs what happens to them."""

    def __init__(self, clock: Clock, sign: Callable[[str, int, bytes], str]) -> None:
        self._clock = clock
        self._sign = sign
        # A new connection each, and as many as it takes: a pool's own faults would look like the receiver's.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def follow(self, prediction: Prediction) -> None:
        """Sends each event the create call asked for, in its time, and returns when nothing more is to be sent."""
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
            await self._tell_the_end(prediction)

    async def _during(self, prediction: Prediction, moment: float, event: Event) -> None:
        await self._clock.reach(lambda: min(moment, prediction.ending.at))
        if prediction.has_started(moment) and moment <= prediction.ending.at:
            await self._send(prediction, event, _new_id(), prediction.shown(moment))

    async def _tell_the_end(self, prediction: Prediction) -> None:
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
        # A receiver compares the timestamp with its own clock, which does not know that this one was moved.
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
            prediction.told.set()
        return status_code is not None and status_code < 400


def _new_id() -> str:
    return "msg_" + secrets.token_urlsafe(20)


def _output_body(prediction: Prediction) -> dict[str, Any]:
    """Returns the object as it is when the output is there and the completion is not yet announced."""
    shown = prediction.shown(prediction.ending.at)
    return {**shown, "status": "processing", "completed_at": None, "metrics": {}}
