"""The receiver verifies events; the schedule reports ticks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from local.receiver import Event, Receiver
from local.receiver import main as receive
from local.schedule import tick


def test_the_receiver_accepts_events_signed_with_its_secrets_and_no_others(tmp_path: Path) -> None:
    old, new, other = (f"whsec_{letter * 32}" for letter in "AbC")
    body, now = b'{"type":"job.completed","data":{"id":"job_1"}}', datetime.now(UTC)
    events: list[Event] = []

    def post(secret: str, *, at: datetime = now, content: bytes = body, signature: str = "") -> int:
        signature = signature or Webhook(secret).sign("evt_1", at, body.decode())
        stamp = str(int(at.timestamp()))
        headers = {"webhook-id": "evt_1", "webhook-timestamp": stamp, "webhook-signature": signature}
        return httpx.post(receiver.url, content=content, headers=headers).status_code

    with Receiver([old, new], events.append) as receiver:
        assert [post(old), post(new)] == [204, 204]
        assert [(event.type, event.subject) for event in events] == [("job.completed", "job_1")], (
            "one event, received twice"
        )
        refused = [
            post(other), post(old, content=body + b" "), post(old, at=now - timedelta(minutes=10)),
            post(old, signature="nonsense"), post(old, signature="v1,!"),
            httpx.post(receiver.url, content=body).status_code,
        ]  # fmt: skip
        assert (refused, receiver.refused) == ([401] * 6, 6)
        assert httpx.post(receiver.url, content=b"." * 70_000).status_code == 413
    assert len(events) == 1


def test_the_receiver_says_why_it_cannot_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("API_KEY", raising=False)
    assert receive([]) == 2 and "API_KEY" in capsys.readouterr().err
    assert receive(["--api-key", "k", "--url", "http://127.0.0.1:1"]) == 2
    assert "ConnectError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (httpx.Response(200, json={"started": 0, "looked_at": 0, "missing": 0, "failed": 0, "rounds": 1}), None),
        (httpx.Response(200, json={"started": 2, "rounds": 1}), "tick started=2 rounds=1"),
        (httpx.Response(503, json={"code": "store_unavailable"}), "tick failed: status 503"),
        (httpx.Response(200, text="<html>"), "tick failed: JSONDecodeError"),
        (httpx.ConnectError("refused"), "tick failed: ConnectError"),
    ],
)
def test_the_schedule_reports_only_ticks_that_did_work_or_failed(
    answer: httpx.Response | httpx.ConnectError, line: str | None
) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, httpx.ConnectError):
            raise answer
        return answer

    with httpx.Client(base_url="http://functions", transport=httpx.MockTransport(handle)) as client:
        assert tick(client) == line
