"""Events as API Gateway, EventBridge and a provider send them, for the functions of a package."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from bench.invocations import event
from local.simulator.running import RunningSimulator
from local.simulator.webhooks import signature
from tests.deploy import aws_project

AUTH = {"authorization": f"Bearer {aws_project.API_KEY}"}
JSON = {"content-type": "application/json"}
# A scheduled event (EventBridge, "AWS service event: Scheduled Event").
SCHEDULED = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2026-11-22T20:00:00Z",
    "region": "eu-central-1",
    "resources": ["arn:aws:events:eu-central-1:123456789012:rule/sluice-preview-TickEventsRuleSchedule1"],
    "detail": {},
}


def read(answer: dict[str, Any]) -> tuple[int, Any]:
    return answer["statusCode"], json.loads(answer["body"])


def order(**changes: Any) -> dict[str, Any]:
    """Returns a submit event. Its prediction ends at once, and the simulator sends no webhook."""
    simulate = {"seconds": 0, "start_delay": 0, "webhook": "lose"}
    wanted = {
        "model": "acme/video",
        "input": {"prompt": "ein Leuchtturm, 灯台", "simulate": simulate},
        "user_id": "ada",
    }
    return event("POST", "/api/submit", AUTH | JSON) | {"body": json.dumps({**wanted, **changes}, ensure_ascii=False)}


def delivery(simulator: RunningSimulator) -> dict[str, Any]:
    """Returns the newest prediction's webhook as API Gateway forwards it."""
    newest = simulator.predictions()[0]
    url = urlsplit(newest["webhook"])
    assert newest["webhook"].startswith(aws_project.PUBLIC_URL)
    shown = httpx.get(f"{simulator.url}/predictions/{newest['id']}", headers=simulator.headers).text
    stamp = int(time.time())
    signed = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": signature(simulator.webhook_secret, "msg_1", stamp, shown.encode()),
    }
    return event("POST", url.path, signed | JSON, url.query) | {"body": shown}
