"""The life of a prediction at the simulated Replicate, over HTTP."""

import io
import re
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from local.simulator.running import RunningSimulator, running_simulator
from tests.local.simulator.predictions import API_FIELDS, INSTANT, create

VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"


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
def test_a_model_can_be_named_in_each_documented_way(api: httpx.Client, path: str, version: str, named: object) -> None:
    made = api.post(path, json={"input": {"prompt": "x"}, **({"version": version} if version else {})})
    assert (made.status_code, (made.json()["model"], made.json()["version"])) == (201, named)


def test_a_deployment_is_named_in_its_predictions(api: httpx.Client) -> None:
    made = api.post("/deployments/acme/fast/predictions", json={"input": {}}).json()
    assert (made["deployment"], len(made["version"])) == ("acme/fast", 64)


def test_a_failed_prediction_has_its_error_and_no_output(api: httpx.Client) -> None:
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
def test_a_malformed_or_short_cancel_after_is_refused(api: httpx.Client, wrong: str) -> None:
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


def test_every_route_except_the_files_needs_the_token(simulator: RunningSimulator) -> None:
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


def test_an_unknown_prediction_is_404(api: httpx.Client) -> None:
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
def test_a_malformed_request_is_refused(api: httpx.Client, body: dict[str, Any]) -> None:
    refused = api.post("/predictions", json=body)
    assert refused.status_code == 422
    assert set(refused.json()) == {"title", "detail", "status"}


@pytest.mark.parametrize("status", [401, 402, 403, 404, 422, 429, 500, 503])
def test_a_chosen_refusal_creates_nothing_and_may_end_after_some_calls(
    simulator: RunningSimulator, api: httpx.Client, status: int
) -> None:
    statuses = [create(api, create=str(status), create_times=2).status_code for _ in range(3)]
    assert statuses == [status, status, 201]
    assert simulator.census().creates_of("acme/video", "a fox").predictions == 1


@pytest.mark.parametrize("url", ["https://example.com/hook?job=1", "http://localhost:1/", "http://[::1]:1/"])
def test_a_webhook_is_https_or_stays_on_this_machine(api: httpx.Client, url: str) -> None:
    assert create(api, webhook=url).status_code == 201


def test_a_throttled_create_says_when_to_repeat(api: httpx.Client) -> None:
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
