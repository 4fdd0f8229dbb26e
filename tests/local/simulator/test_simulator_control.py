"""The simulator's controls for tests and the demo: the list, the census, behaviours, the command."""

import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import local.simulator
from local.simulator.behaviour import Behaviour
from local.simulator.census import Creates
from local.simulator.running import RunningSimulator
from tests.local.simulator.predictions import API_FIELDS, INSTANT, Receiver, create, webhook_to
from tests.project import ROOT

# --- lists, the census and the other admin routes


def test_the_list_is_newest_first_in_pages_of_a_hundred(simulator: RunningSimulator, api: httpx.Client) -> None:
    made = [create(api, seconds=0.05).json()["id"] for _ in range(205)]
    first = api.get("/predictions").json()
    second = api.get(first["next"]).json()
    third = api.get(second["next"]).json()
    listed = [each["id"] for page in (first, second, third) for each in page["results"]]
    assert listed == made[::-1]
    assert (first["previous"], third["next"], len(third["results"])) == (None, None, 5)
    assert [each["id"] for each in api.get(third["previous"]).json()["results"]] == listed[100:200]
    assert set(first["results"][0]) == API_FIELDS
    assert api.get("/predictions?cursor=!").status_code == 422


def test_the_list_can_be_bounded_by_creation_time(simulator: RunningSimulator, api: httpx.Client) -> None:
    times = []
    for _ in range(3):
        times.append(create(api).json()["created_at"])
        simulator.advance(60)

    def found(**query: str) -> list[str]:
        return [each["created_at"] for each in api.get("/predictions", params=query).json()["results"]]

    assert found(created_after=times[1]) == [times[2], times[1]]
    assert found(created_before=times[1]) == [times[0]]
    assert found(created_after=times[1].replace("Z", "+00:00"), created_before=times[2]) == [times[1]]
    assert api.get("/predictions?created_after=yesterday").status_code == 422


def test_the_census_counts_how_many_ran_at_once_in_total_and_by_label(
    simulator: RunningSimulator, api: httpx.Client
) -> None:
    create(api, seconds=10, group="user:ada,queue:hd")
    create(api, seconds=10, group=["user:bo", "queue:hd"])
    simulator.advance(11)
    create(api, seconds=10, group="user:ada")
    create(api, create="500", group="user:ada")
    census = simulator.census()
    assert (census.running, census.max_running_total) == (1, 2)
    assert census.max_running == {"user:ada": 1, "user:bo": 1, "queue:hd": 2}
    assert census.creates_of("acme/video", "a fox") == Creates(
        model="acme/video", prompt="a fox", calls=4, predictions=3
    )
    assert census.creates_of("acme/video", "unknown").calls == 0


def test_a_default_behaviour_lasts_for_some_creates_or_until_cleared_and_inputs_win(
    simulator: RunningSimulator, api: httpx.Client
) -> None:
    simulator.behave(creates=2, outcome="fail", **INSTANT)
    statuses = [create(api).json()["status"] for _ in range(3)]
    assert statuses == ["failed", "failed", "starting"]
    simulator.behave(create="503")
    assert [create(api).status_code, create(api, create="accept").status_code] == [503, 201]
    simulator.clear()
    assert create(api).status_code == 201
    with pytest.raises(ValueError, match="unheard"):
        simulator.behave(unheard=1)


def test_a_reset_clears_everything(simulator: RunningSimulator, api: httpx.Client, receiver: Receiver) -> None:
    create(api, **webhook_to(receiver))
    simulator.behave(create="500")
    simulator.reset()
    assert (simulator.predictions(), simulator.census().creates) == ([], [])
    assert create(api, prompt="after", **INSTANT, **webhook_to(receiver)).status_code == 201
    assert receiver.get().event["input"]["prompt"] == "after"


@pytest.mark.exhaustive
def test_three_hundred_concurrent_predictions_all_finish_and_send_webhooks(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver
) -> None:
    def one(number: int) -> str:
        identifier: str = create(api, prompt=str(number), seconds=0.05, start_delay=0, **webhook_to(receiver)).json()[
            "id"
        ]
        return identifier

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(one, range(300)))
    assert {receiver.get().event["id"] for _ in range(300)} == made
    assert simulator.census().running == 0


def test_the_docstring_explains_every_field_of_a_behaviour() -> None:
    explained = re.findall(r"^\| `(\w+)`", local.simulator.__doc__ or "", re.MULTILINE)
    assert explained == list(Behaviour.model_fields)


# --- the command


def test_an_occupied_port_is_one_clear_message_and_status_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "local.simulator", "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"simulator: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_interrupted_and_ends_silently(number: signal.Signals) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    command = [sys.executable, "-m", "local.simulator", "--port", "0", "--webhook-secret", secret]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"REPLICATE_API_TOKEN": "t0ken"},
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        answer = httpx.get(f"{address}/webhooks/default/secret", headers={"Authorization": "Bearer t0ken"})
        process.send_signal(number)
        rest = process.communicate(timeout=20)
    assert answer.json() == {"key": secret}
    assert (process.returncode, rest) == (0, ("", ""))
