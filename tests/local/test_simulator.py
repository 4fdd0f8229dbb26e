"""The provider simulator, driven over HTTP as its users drive it."""

import io
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import av
import httpx
import pytest
from PIL import Image
from standardwebhooks import Webhook

import local.simulator
from local.simulator.behaviour import Behaviour
from local.simulator.census import Creates
from local.simulator.running import RunningSimulator, running_simulator
from tests.project import ROOT

API_FIELDS = {
    *("id", "model", "version", "input", "output", "error", "logs", "metrics", "created_at", "started_at"),
    *("completed_at", "data_removed", "source", "status", "urls"),
}
VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
INSTANT: dict[str, Any] = {"seconds": 0, "start_delay": 0}


class Received(NamedTuple):
    """One webhook as it arrived."""

    headers: dict[str, str]
    body: bytes
    event: dict[str, Any]


class Receiver:
    """Takes webhooks, and answers with the statuses put into `answers`, then with 200."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self.secret = secret
        self.answers: list[int] = []
        self.received: queue.Queue[Received] = queue.Queue()

    def get(self) -> Received:
        return self.received.get(timeout=5)

    def take(self, headers: dict[str, str], body: bytes) -> int:
        self.received.put(Received(headers, body, Webhook(self.secret).verify(body, headers)))
        return self.answers.pop(0) if self.answers else 200


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSimulator]:
    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: RunningSimulator) -> RunningSimulator:
    running.reset()
    return running


@pytest.fixture
def api(simulator: RunningSimulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.url, headers=simulator.headers, timeout=5, trust_env=False) as client:
        yield client


@pytest.fixture
def receiver(simulator: RunningSimulator) -> Iterator[Receiver]:
    with receiving(simulator.webhook_secret) as it:
        yield it


@contextmanager
def receiving(secret: str) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = it.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            if status in (301, 307):
                self.send_header("location", it.url)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        it = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook?job=j1&attempt=1", secret)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield it
        server.shutdown()


def create(api: httpx.Client, *, prompt: str = "a fox", headers: dict[str, str] | None = None, **rest: Any) -> Any:
    """Creates a prediction of an official model; what is no field of the request body chooses its behaviour."""
    body: dict[str, Any] = {
        name: rest.pop(name) for name in ("version", "webhook", "webhook_events_filter") if name in rest
    }
    body = {"version": "acme/video", "input": {"prompt": prompt, "simulate": rest}, **body}
    return api.post("/predictions", json=body, headers=headers)


def told(receiver: Receiver, **rest: Any) -> dict[str, Any]:
    return {"webhook": receiver.url, "webhook_events_filter": ["completed"], **rest}


def deliveries(simulator: RunningSimulator, count: int) -> list[dict[str, Any]]:
    """Returns the newest prediction's deliveries once there are that many: each is written after its answer came."""
    for _ in range(2000):
        found: list[dict[str, Any]] = simulator.predictions()[0]["deliveries"]
        if len(found) >= count:
            return found
    raise AssertionError(f"only {found}")


# --- a prediction's life


def test_a_prediction_starts_runs_and_succeeds_with_the_fields_of_the_real_api(
    simulator: RunningSimulator, api: httpx.Client
) -> None:
    made = create(api, seconds=100, start_delay=10)
    new = made.json()
    assert made.status_code == 201
    assert set(new) == API_FIELDS
    assert re.fullmatch("[0-9a-z]{26}", new["id"])
    assert (new["status"], new["started_at"], new["output"], new["logs"]) == ("starting", None, None, "")
    assert (new["model"], new["version"], new["source"]) == ("acme/video", "hidden", "api")
    assert set(new["urls"]) == {"get", "cancel", "web"}
    simulator.advance(10 + 42.5)
    now = api.get(new["urls"]["get"]).json()
    assert (now["status"], now["completed_at"], now["metrics"]) == ("processing", None, {})
    assert " 42%|████▏     | 21/50 [00:42<00:58," in now["logs"].splitlines()[-1]
    simulator.advance(60)
    done = api.get(new["urls"]["get"]).json()
    assert (done["status"], done["error"], set(done)) == ("succeeded", None, API_FIELDS)
    assert done["metrics"] == {"predict_time": 100.0, "total_time": 110.0}
    assert "100%|██████████| 50/50" in done["logs"].splitlines()[-1]


@pytest.mark.parametrize(
    ("path", "version", "named"),
    [
        ("/predictions", "acme/video", ("acme/video", "hidden")),
        ("/predictions", f"acme/video:{VERSION}", ("acme/video", VERSION)),
        ("/predictions", VERSION, (f"simulated/{VERSION[:12]}", VERSION)),
        ("/models/acme/video/predictions", None, ("acme/video", "hidden")),
    ],
)
def test_each_way_to_name_a_model_is_understood(api: httpx.Client, path: str, version: str, named: object) -> None:
    made = api.post(path, json={"input": {"prompt": "x"}, **({"version": version} if version else {})})
    assert (made.status_code, (made.json()["model"], made.json()["version"])) == (201, named)


def test_a_deployment_is_named_in_its_predictions(api: httpx.Client) -> None:
    made = api.post("/deployments/acme/fast/predictions", json={"input": {}}).json()
    assert (made["deployment"], len(made["version"])) == ("acme/fast", 64)


def test_a_failing_prediction_carries_its_error_and_no_output(api: httpx.Client) -> None:
    failed = create(api, outcome="fail", error="CUDA out of memory", **INSTANT).json()
    assert (failed["status"], failed["error"], failed["output"]) == ("failed", "CUDA out of memory", None)
    assert "100%" not in failed["logs"]


def test_the_first_predictions_of_a_prompt_may_fail_and_later_ones_succeed(api: httpx.Client) -> None:
    statuses = [create(api, fail_times=2, **INSTANT).json()["status"] for _ in range(3)]
    assert statuses == ["failed", "failed", "succeeded"]
    assert create(api, prompt="another", fail_times=1, **INSTANT).json()["status"] == "failed"


def test_a_stalled_prediction_goes_on_until_it_is_cancelled(simulator: RunningSimulator, api: httpx.Client) -> None:
    urls = create(api, outcome="stall", seconds=1).json()["urls"]
    simulator.advance(100_000)
    assert api.get(urls["get"]).json()["status"] == "processing"
    canceled = api.post(urls["cancel"])
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    assert canceled.json()["metrics"]["predict_time"] >= 99_999


def test_a_cancel_comes_too_late_for_a_finished_prediction(api: httpx.Client) -> None:
    urls = create(api, **INSTANT).json()["urls"]
    assert api.post(urls["cancel"]).json()["status"] == "succeeded"


def test_a_deadline_before_the_start_aborts_and_one_after_it_cancels(
    simulator: RunningSimulator, api: httpx.Client
) -> None:
    unstarted = create(api, start_delay=200, headers={"Cancel-After": "1m30s"}).json()
    started = create(api, start_delay=1, seconds=200, headers={"Cancel-After": "90s"}).json()
    assert set(started) == {*API_FIELDS, "deadline"}
    simulator.advance(91)
    aborted, canceled = (api.get(each["urls"]["get"]).json() for each in (unstarted, started))
    assert (aborted["status"], aborted["started_at"], "predict_time" in aborted["metrics"]) == ("aborted", None, False)
    assert (canceled["status"], canceled["metrics"]["predict_time"]) == ("canceled", 89.0)
    assert canceled["completed_at"] == canceled["deadline"] == started["deadline"]


@pytest.mark.parametrize("wrong", ["4s", "0m", "", "s", "90", "1m 30s", "5m1h", "-5m"])
def test_a_cancel_after_that_is_no_duration_or_too_short_is_refused(api: httpx.Client, wrong: str) -> None:
    assert create(api, headers={"Cancel-After": wrong}).status_code == 422


@pytest.mark.parametrize("good", ["5s", "5m", "1h30m45s", "1h"])
def test_every_documented_form_of_cancel_after_is_accepted(api: httpx.Client, good: str) -> None:
    assert create(api, headers={"Cancel-After": good}).status_code == 201


# --- outputs


def test_a_video_is_playable_and_the_same_for_the_same_prompt(api: httpx.Client) -> None:
    first, second = (api.get(create(api, output="mp4", **INSTANT).json()["output"]) for _ in range(2))
    assert (first.headers["content-type"], first.content) == ("video/mp4", second.content)
    assert 0 < first.content.index(b"moov") < first.content.index(b"mdat")
    with av.open(io.BytesIO(first.content), "r") as video:
        stream = video.streams.video[0]
        frames = [(frame.width, frame.height, frame.format.name) for frame in video.decode(video=0)]
        assert (stream.codec_context.name, float(stream.average_rate or 0)) == ("h264", 12.0)
    assert frames == [(320, 180, "yuv420p")] * 24


def test_the_output_is_an_image_a_list_of_images_or_a_text_when_asked(api: httpx.Client) -> None:
    one = create(api, output="png", **INSTANT).json()["output"]
    several = create(api, output="list", **INSTANT).json()["output"]
    text = create(api, output="text", prompt="why?", **INSTANT).json()["output"]
    images = [api.get(url) for url in (one, *several)]
    assert {Image.open(io.BytesIO(image.content)).format for image in images} == {"PNG"}
    assert len({image.content for image in images}) == 2, "the second of a list shows its number"
    assert images[0].headers["content-type"] == "image/png"
    assert "why?" in text


def test_output_files_need_no_token_and_exist_only_after_success(
    simulator: RunningSimulator, api: httpx.Client
) -> None:
    new = create(api, seconds=50).json()
    address = f"{simulator.root}/files/{new['id']}/output.mp4"
    assert httpx.get(address).status_code == 404
    simulator.advance(51)
    assert httpx.head(address).status_code == 200
    assert httpx.get(address.replace("output", "other")).status_code == 404


def test_input_output_and_logs_are_removed_an_hour_after_completion(
    simulator: RunningSimulator, api: httpx.Client
) -> None:
    done = create(api, **INSTANT).json()
    simulator.advance(3590)
    assert api.get(done["output"]).status_code == 200
    simulator.advance(10)
    bare = api.get(done["urls"]["get"]).json()
    assert (bare["data_removed"], bare["input"], bare["output"], bare["logs"]) == (True, {}, None, "")
    assert (bare["status"], set(bare)) == ("succeeded", API_FIELDS)
    assert api.get(done["output"]).status_code == 404


# --- refusals


def test_every_route_but_the_files_wants_the_token(simulator: RunningSimulator) -> None:
    root = simulator.root
    routes = [
        *(("POST", f"/v1/{path}predictions") for path in ("", "models/a/b/", "deployments/a/b/")),
        *(("GET", "/v1/predictions"), ("GET", "/v1/predictions/x"), ("POST", "/v1/predictions/x/cancel")),
        *(("GET", "/v1/webhooks/default/secret"), ("POST", "/-/behaviour"), ("DELETE", "/-/behaviour")),
        *(("GET", "/-/predictions"), ("GET", "/-/census"), ("POST", "/-/advance"), ("POST", "/-/reset")),
    ]
    for method, path in routes:
        answer = httpx.request(method, root + path, headers={"Authorization": "Bearer wrong"})
        assert (answer.status_code, answer.json()) == (
            401,
            {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token", "status": 401},
        ), path


def test_what_does_not_exist_is_not_found(api: httpx.Client) -> None:
    for answer in (api.get("/predictions/none"), api.post("/predictions/none/cancel")):
        assert (answer.status_code, answer.json()["status"]) == (404, 404)


@pytest.mark.parametrize(
    "body",
    [
        {"input": {}},
        {"input": {}, "version": "no-owner"},
        {"input": "text", "version": "acme/video"},
        {"input": {"simulate": {"unheard": 1}}, "version": "acme/video"},
        {"input": {"simulate": "fail"}, "version": "acme/video"},
        {"input": {}, "version": "acme/video", "webhook": "http://example.com/hook"},
        {"input": {}, "version": "acme/video", "webhook": "https://"},
        {"input": {}, "version": "acme/video", "webhook": "http://[broken"},
        {"input": {}, "version": "acme/video", "webhook_events_filter": ["never"]},
    ],
)
def test_a_request_that_does_not_fit_is_refused(api: httpx.Client, body: dict[str, Any]) -> None:
    refused = api.post("/predictions", json=body)
    assert refused.status_code == 422
    assert set(refused.json()) == {"title", "detail", "status"}


@pytest.mark.parametrize("status", [401, 402, 404, 422, 429, 500, 503])
def test_a_chosen_refusal_creates_nothing_and_may_end_after_some_calls(
    simulator: RunningSimulator, api: httpx.Client, status: int
) -> None:
    statuses = [create(api, create=str(status), create_times=2).status_code for _ in range(3)]
    assert statuses == [status, status, 201]
    assert simulator.census().creates_of("acme/video", "a fox").predictions == 1


@pytest.mark.parametrize("url", ["https://example.com/hook?job=1", "http://localhost:1/", "http://[::1]:1/"])
def test_a_webhook_is_https_or_stays_on_this_machine(api: httpx.Client, url: str) -> None:
    assert create(api, webhook=url).status_code == 201


def test_a_throttled_create_says_when_to_return(api: httpx.Client) -> None:
    plain, precise = create(api, create="429"), create(api, create=429, retry_after=7)
    assert plain.json() == {"detail": "Request was throttled. Your rate limit resets in ~30s."}
    assert "retry-after" not in plain.headers
    assert (precise.headers["retry-after"], precise.json()["retry_after"]) == ("7", 7)
    assert "~7s" in precise.json()["detail"]


def test_creates_beyond_the_rate_limit_are_throttled_until_a_minute_has_passed() -> None:
    with running_simulator(rate_limit=2) as limited, httpx.Client(base_url=limited.url, headers=limited.headers) as api:
        assert [create(api).status_code for _ in range(3)] == [201, 201, 429]
        limited.advance(60)
        assert create(api).status_code == 201


@pytest.mark.parametrize(
    ("fault", "error", "made"),
    [
        ("drop_before", httpx.RemoteProtocolError, 0),
        ("apply_then_drop", httpx.RemoteProtocolError, 1),
        ("hang", httpx.ReadTimeout, 0),
        ("apply_then_hang", httpx.ReadTimeout, 1),
    ],
)
def test_an_unanswered_create_leaves_a_prediction_only_if_it_was_applied(
    simulator: RunningSimulator, api: httpx.Client, fault: str, error: type[Exception], made: int
) -> None:
    api.timeout = httpx.Timeout(0.3)
    with pytest.raises(error):
        create(api, create=fault)
    assert len(simulator.predictions()) == made


# --- webhooks (the receiver verifies every signature)


def test_the_terminal_webhook_is_the_prediction_object_signed(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver
) -> None:
    assert api.get("/webhooks/default/secret").json() == {"key": simulator.webhook_secret}
    made = create(api, seconds=300, **told(receiver)).json()
    simulator.advance(301)
    assert receiver.get().event == api.get(made["urls"]["get"]).json()
    [delivery] = deliveries(simulator, 1)
    assert (delivery["event"], delivery["status_code"], delivery["error"]) == ("completed", 200, None)
    assert simulator.predictions()[0]["webhook"] == receiver.url


def test_cancelled_and_aborted_predictions_are_told_too(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver
) -> None:
    api.post(create(api, outcome="stall", **told(receiver)).json()["urls"]["cancel"])
    assert receiver.get().event["status"] == "canceled"
    create(api, start_delay=100, headers={"Cancel-After": "10s"}, **told(receiver))
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


def test_a_refused_webhook_is_repeated_with_the_same_id_until_it_is_taken(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver
) -> None:
    receiver.answers = [503, 404]
    create(api, **INSTANT, **told(receiver))
    for count, gap in ((1, 1), (2, 2), (3, 100)):
        deliveries(simulator, count)
        simulator.advance(gap)
    assert [each["status_code"] for each in deliveries(simulator, 3)] == [503, 404, 200]
    assert len({receiver.get().headers["webhook-id"] for _ in range(3)}) == 1
    assert receiver.received.empty()


def test_a_webhook_that_is_never_taken_is_given_up_about_a_minute_after_completion(
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
    create(api, webhook_delay=0, **INSTANT, **told(receiver))
    assert [each["status_code"] for each in deliveries(simulator, 1)] == [307]
    simulator.advance(100)
    create(api, prompt="next", **INSTANT, **told(receiver))
    assert [receiver.get().event["input"]["prompt"] for _ in range(2)] == ["a fox", "next"]


def travelling(receiver: Receiver, how: str, **rest: Any) -> dict[str, Any]:
    """Returns a request body, since `webhook` names both the URL and the way it travels."""
    simulate = {**INSTANT, "webhook": how, **rest}
    return {"version": "acme/video", "input": {"prompt": how, "simulate": simulate}, **told(receiver)}


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


def test_the_census_knows_how_many_ran_at_once_in_total_and_by_label(
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


def test_a_reset_forgets_everything(simulator: RunningSimulator, api: httpx.Client, receiver: Receiver) -> None:
    create(api, **told(receiver))
    simulator.behave(create="500")
    simulator.reset()
    assert (simulator.predictions(), simulator.census().creates) == ([], [])
    assert create(api, prompt="after", **INSTANT, **told(receiver)).status_code == 201
    assert receiver.get().event["input"]["prompt"] == "after"


def test_three_hundred_predictions_at_once_all_finish_and_are_told(
    simulator: RunningSimulator, api: httpx.Client, receiver: Receiver
) -> None:
    def one(number: int) -> str:
        identifier: str = create(api, prompt=str(number), seconds=0.05, start_delay=0, **told(receiver)).json()["id"]
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
