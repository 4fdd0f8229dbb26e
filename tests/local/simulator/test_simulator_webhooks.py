"""The webhooks of the simulated Replicate: when, how often and how they are sent."""

import socket
from typing import Any

import httpx
import pytest

from local.simulator.running import RunningSimulator
from tests.local.simulator.predictions import INSTANT, Receiver, create, deliveries, webhook_to

# --- webhooks (the receiver verifies every signature)


def test_the_terminal_webhook_is_the_prediction_object_signed(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver
) -> None:
    assert api.get("/webhooks/default/secret").json() == {"key": simulator.webhook_secret}
    made = create(api, seconds=300, **webhook_to(receiver)).json()
    simulator.advance(301)
    assert receiver.get().event == api.get(made["urls"]["get"]).json()
    [delivery] = deliveries(simulator, 1)
    assert (delivery["event"], delivery["status_code"], delivery["error"]) == ("completed", 200, None)
    assert simulator.predictions()[0]["webhook"] == receiver.url


def test_cancelled_and_aborted_predictions_send_webhooks_too(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver
) -> None:
    api.post(create(api, outcome="stall", **webhook_to(receiver)).json()["urls"]["cancel"])
    assert receiver.get().event["status"] == "canceled"
    create(api, start_delay=100, headers={"Cancel-After": "10s"}, **webhook_to(receiver))
    simulator.advance(11)
    assert receiver.get().event["status"] == "aborted"


@pytest.mark.parametrize(
    ("chosen", "events"),
    [
        (["start", "output", "logs", "completed"], ["start", "logs", "output", "completed"]),
        (["completed"], ["completed"]),
        (["start"], ["start"]),
        ([], []),
        (None, ["output", "completed"]),
    ],
)
def test_only_the_events_of_the_filter_are_sent(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver, chosen: list[str] | None, events: list[str]
) -> None:
    fields: dict[str, Any] = {} if chosen is None else {"webhook_events_filter": chosen}
    create(api, seconds=10, webhook=receiver.url, **fields)
    simulator.advance(11)
    sent = deliveries(simulator, len(events))
    assert [each["event"] for each in sent] == events
    assert len({each["webhook_id"] for each in sent}) == len(events)
    statuses = {"start": "processing", "logs": "processing", "output": "processing", "completed": "succeeded"}
    assert [receiver.get().event["status"] for _ in events] == [statuses[each] for each in events]


def test_a_refused_webhook_is_repeated_with_the_same_id_until_it_is_accepted(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver
) -> None:
    receiver.answers = [503, 404]
    create(api, **INSTANT, **webhook_to(receiver))
    for count, gap in ((1, 1), (2, 2), (3, 100)):
        deliveries(simulator, count)
        simulator.advance(gap)
    assert [each["status_code"] for each in deliveries(simulator, 3)] == [503, 404, 200]
    assert len({receiver.get().headers["webhook-id"] for _ in range(3)}) == 1
    assert receiver.received.empty()


def test_a_webhook_that_is_never_accepted_is_given_up_about_a_minute_after_completion(
    simulator: RunningSimulator, api: httpx.Client
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    create(api, webhook=f"http://127.0.0.1:{port}/", webhook_events_filter=["completed"], **INSTANT)
    for sent in range(1, 7):
        deliveries(simulator, sent)
        simulator.advance(2 ** (sent - 1))
    assert {each["error"] for each in deliveries(simulator, 7)} == {"ConnectError"}
    simulator.advance(1000)
    create(api, prompt="later", webhook=f"http://127.0.0.1:{port}/", **INSTANT)
    deliveries(simulator, 1)
    assert len(simulator.predictions()[1]["deliveries"]) == 7


def test_a_redirect_is_neither_followed_nor_repeated(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver
) -> None:
    receiver.answers = [307]
    create(api, webhook_delay=0, **INSTANT, **webhook_to(receiver))
    assert [each["status_code"] for each in deliveries(simulator, 1)] == [307]
    simulator.advance(100)
    create(api, prompt="next", **INSTANT, **webhook_to(receiver))
    assert [receiver.get().event["input"]["prompt"] for _ in range(2)] == ["a fox", "next"]


def travelling(receiver: Receiver, how: str, **rest: Any) -> dict[str, Any]:
    """Returns a request body, since `webhook` names both the URL and the way it travels."""
    simulate = {**INSTANT, "webhook": how, **rest}
    return {"version": "acme/video", "input": {"prompt": how, "simulate": simulate}, **webhook_to(receiver)}


def test_a_lost_webhook_is_never_sent(simulator: RunningSimulator, api: httpx.Client, receiver: Receiver) -> None:
    api.post("/predictions", json=travelling(receiver, "lose"))
    api.post("/predictions", json=travelling(receiver, "ok"))
    assert receiver.get().event["input"]["prompt"] == "ok"
    assert simulator.predictions()[1]["deliveries"] == []


def test_a_duplicate_webhook_comes_twice_with_one_id(api: httpx.Client, receiver: Receiver) -> None:
    api.post("/predictions", json=travelling(receiver, "duplicate"))
    first, second = receiver.get(), receiver.get()
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)


@pytest.mark.parametrize("how", ["delay", "late"])
def test_a_delayed_webhook_comes_after_its_delay(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver, how: str
) -> None:
    api.post("/predictions", json=travelling(receiver, how, webhook_delay=600))
    simulator.advance(500)
    api.post("/predictions", json=travelling(receiver, "ok"))
    assert receiver.get().event["input"]["prompt"] == "ok"
    simulator.advance(101)
    assert receiver.get().event["input"]["prompt"] == how


def test_an_overtaking_webhook_is_answered_before_the_create_call_returns(
    api: httpx.Client, receiver: Receiver
) -> None:
    made = api.post("/predictions", json=travelling(receiver, "overtake", seconds=60)).json()
    assert receiver.received.get_nowait().event["id"] == made["id"]
    assert made["status"] == "succeeded"
