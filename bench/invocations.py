"""Lambda invocations as API Gateway sends them, one for each function, and the store's replies to them."""

import itertools
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from shared.config.settings import Settings
from shared.jobqueue.record import READ_FIELDS
from shared.jobqueue.records import WALK_FIELDS
from shared.jobqueue.script import script
from shared.jobs.request import SubmitRequest
from shared.signing.derived import nonce
from shared.signing.webhooks import sign
from shared.store.scripts import digest_of

NOW = int(time.time() * 1000)
SUBMISSION = {
    "model": "acme/video",
    "input": {"prompt": "A lighthouse in a storm, seen from a small boat, cinematic", "duration": 8, "seed": 20934},
    "user_id": "ada",
    "tier": "premium",
    "priority": 4,
    "metadata": {"project": "northern-lights", "scene": "12"},
}
INCARNATION = "0123456789abcdef"
JOB = {
    "owner": "app",
    "user": "ada",
    "queue": "video",
    "provider": "replicate",
    "model": "acme/video",
    "tier": "premium",
    "priority": "4",
    "metadata": '{"project":"northern-lights","scene":"12"}',
    "state": "running",
    "attempt": "1",
    "prediction": "rrr4z55ocneqzikepnug6xezpe",
    "progress": "40",
    "created_at": str(NOW),
    "submitted_at": str(NOW),
    "started_at": str(NOW),
    "lane": "0",
    "max_attempts": "4",
    "expire_at": str(NOW + 86_400_000),
    "overdue_at": str(NOW + 365 * 86_400_000),  # not during a bench, or a poll would ask the provider
}


# What the store answers to each verb.
REPLIES: dict[str, Any] = {
    "enqueue": ["queued", "1", "0"],
    "claim": [[], [], "0", [], "0", "0", [], [], ""],
    "finish": ["finished", "completed", "0", "", "", []],
    "explain": [[JOB.get(name) for name in READ_FIELDS], []],
}


def replies() -> dict[str, Any]:
    """Returns the store's replies, each by a text that only its request contains."""
    marked = {digest_of(script(verb).text): reply for verb, reply in REPLIES.items()}
    marked[f'"{WALK_FIELDS[0]}"'] = [str(NOW), None]  # so no sweep is due
    marked['"HMGET"'] = [JOB.get(name) for name in READ_FIELDS]
    marked['"HGET"'] = str(NOW)
    marked['"SET"'] = "OK"
    return marked


@dataclass
class Invocations:
    """Makes events; each is a new object, since a platform parses each one."""

    settings: Settings

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._key = {"authorization": f"Bearer {self.settings.callers['app']}"}

    def submit(self) -> dict[str, Any]:
        key = {"idempotency-key": secrets.token_hex(16)}
        return self._post("/api/submit", json.dumps(SUBMISSION), self._key | key)

    def status(self) -> dict[str, Any]:
        """Returns a poll of a job that this process has not seen yet."""
        return event("GET", f"/api/status/job_{next(self._numbers):032x}", self._key)

    def status_again(self) -> dict[str, Any]:
        """Returns a poll of always the same job."""
        return event("GET", f"/api/status/job_{0:032x}", self._key)

    def status_if_changed(self, etag: str) -> dict[str, Any]:
        """Returns a poll of that job by a caller who has its ETag."""
        return event("GET", f"/api/status/job_{0:032x}", self._key | {"if-none-match": etag})

    def tick(self) -> dict[str, Any]:
        token = self.settings.queue_processor_token
        assert token is not None
        return self._post("/api/process-queue", "", {"authorization": f"Bearer {token.get_secret_value()}"})

    def webhook(self) -> dict[str, Any]:
        """Returns the webhook of a completed prediction, signed now."""
        prediction = {
            "id": JOB["prediction"],
            "status": "succeeded",
            "output": ["https://replicate.delivery/xezq/abc/out.mp4"],
            "logs": "100%|##########| 50/50",
            "metrics": {"predict_time": 41.2},
        }
        body, stamp, message = json.dumps(prediction), int(time.time()), f"msg_{secrets.token_hex(12)}"
        job_id = f"job_{next(self._numbers):032x}"
        query = {"job": job_id, "attempt": 1, "incarnation": INCARNATION}
        query["nonce"] = nonce(self.settings.signing_key, "replicate", job_id, 1, INCARNATION)
        signature = sign(self.settings.replicate_webhook_secrets[0], message, stamp, body.encode())
        headers = {"webhook-id": message, "webhook-timestamp": str(stamp), "webhook-signature": signature}
        return self._post("/api/webhook/replicate", body, headers, urlencode(query))

    def health(self) -> dict[str, Any]:
        return event("GET", "/api/health", {})

    @staticmethod
    def _post(path: str, body: str, headers: dict[str, str], query: str = "") -> dict[str, Any]:
        sized = {"content-type": "application/json", "content-length": str(len(body.encode()))}
        return event("POST", path, headers | sized, query) | {"body": body}


def event(method: str, path: str, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    """Returns an API Gateway event of format 2.0 with the gateway's headers."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "host": "queue.acme-studio.net",
            "user-agent": "acme-app/3.1",
            "x-amzn-trace-id": "Root=1-6745f0e2-2f1d3b0c5a9e4d7f8c6b1a20",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            **headers,
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "r3pmxmplak",
            "domainName": "queue.acme-studio.net",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "acme-app/3.1",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": NOW,
        },
        "isBase64Encoded": False,
    }


def submission() -> SubmitRequest:
    """Returns the body of ``submit`` as its model."""
    return SubmitRequest.model_validate(SUBMISSION)
