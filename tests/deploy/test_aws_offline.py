"""A job over HTTP through serverless-offline, ended by a tick of its schedule."""

import time

import pytest

from tests.deploy import aws_project
from tests.deploy.aws_offline import Offline

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

AUTH = {"Authorization": f"Bearer {aws_project.API_KEY}"}
PROCESSOR = {"Authorization": f"Bearer {aws_project.PROCESSOR}"}
TICK_SECONDS = 130.0  # until a tick has ended: a minute, the start of its interpreter, and as much again


def test_a_job_is_submitted_over_http_and_ended_by_the_schedule(offline: Offline) -> None:
    offline.await_ready()
    simulate = {"seconds": 0, "start_delay": 0, "webhook": "lose"}
    order = {"model": "acme/video", "input": {"prompt": "x", "simulate": simulate}, "user_id": "ada"}
    answer = offline.client.post("/api/submit", json=order, headers=AUTH)
    assert answer.status_code == 202, answer.text
    # Do not poll the job's status: a poll would check the job too.
    give_up_at = time.monotonic() + TICK_SECONDS
    while True:
        statistics = offline.client.get("/api/process-queue", headers=PROCESSOR).json()
        if not statistics["running"]:
            break
        log = offline.log.read_text()
        assert time.monotonic() < give_up_at and "Traceback" not in log, log
        time.sleep(1)
    assert statistics["last_tick_age_seconds"] is not None
    read = offline.client.get(answer.json()["links"]["status"], headers=AUTH).json()
    assert read["status"] == "completed" and read["output"]
    assert offline.client.get("/api/nowhere").status_code == 404
