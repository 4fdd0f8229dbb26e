"""The simulated WaveSpeed, used through Sluice's own provider."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from local.simulator.running import RunningSimulator, running_simulator
from shared.errors import Unauthenticated
from shared.providers.base import (
    Accepted,
    Prediction,
    PredictionGone,
    ProviderUnavailable,
    Rejected,
    SubmissionOutcome,
    Throttled,
    Unknown,
)
from shared.providers.wavespeed import WaveSpeed, WaveSpeedSettings
from tests.local.simulator.tasks import INSTANT, MODEL, Receiver, create, created, receiving
from tests.world import settings_for

TASK_FIELDS = {
    *("id", "model", "input", "outputs", "urls", "has_nsfw_contents", "status", "created_at", "code", "error"),
    *("executionTime", "timings"),
}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSimulator]:
    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: RunningSimulator) -> RunningSimulator:
    running.reset()
    return running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as it:
        yield it


@pytest.fixture
async def wavespeed(simulator: RunningSimulator) -> AsyncIterator[WaveSpeed]:
    provider = provider_for(simulator)
    yield provider
    await provider.close()


def provider_for(simulator: RunningSimulator, **changes: str) -> WaveSpeed:
    own = WaveSpeedSettings(
        wavespeed_api_key=changes.get("key", simulator.wavespeed_key),
        wavespeed_base_url=simulator.wavespeed_url,
        wavespeed_webhook_secret=simulator.wavespeed_secret,
    )
    return WaveSpeed(settings_for(None), own)


def url_of(prediction: Prediction) -> str:
    """Returns the one URL in the output."""
    assert isinstance(prediction.output, list)
    [url] = prediction.output
    return str(url)


def ask(simulator: RunningSimulator, path: str, method: str = "GET", key: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {simulator.wavespeed_key if key is None else key}"}
    return httpx.request(method, simulator.wavespeed_url + path, headers=headers, json={}, trust_env=False)


def verified(provider: WaveSpeed, headers: dict[str, str], body: bytes) -> Prediction:
    provider.verify(headers, body, int(time.time() * 1000))
    return provider.read_webhook(body)


# --- a task's life


async def test_a_poll_sees_a_task_created_running_and_completed(
    simulator: RunningSimulator, wavespeed: WaveSpeed
) -> None:
    new = await created(wavespeed, seconds=50, start_delay=10)
    assert new == Prediction(new.id, "running", model=MODEL)
    shown = ask(simulator, f"/predictions/{new.id}/result").json()
    assert (shown["code"], shown["message"], shown["data"]["status"]) == (200, "success", "created")
    assert set(shown["data"]) == TASK_FIELDS
    simulator.advance(20)
    assert ask(simulator, f"/predictions/{new.id}/result").json()["data"]["status"] == "processing"
    assert (await wavespeed.get(new.id, 5)).status == "running"
    simulator.advance(41)
    done = await wavespeed.get(new.id, 5)
    assert (done.status, done.seconds, done.error) == ("completed", 50.0, "")
    assert httpx.get(url_of(done), trust_env=False).headers["content-type"] == "video/mp4"


async def test_a_finished_task_sends_a_signed_webhook_to_the_url_of_the_query(
    simulator: RunningSimulator, wavespeed: WaveSpeed, receiver: Receiver
) -> None:
    new = await created(wavespeed, receiver.url, seconds=300, output="list")
    assert simulator.predictions()[0]["webhook"] == receiver.url
    simulator.advance(301)
    headers, body = await receiver.get()
    assert verified(wavespeed, headers, body) == await wavespeed.get(new.id, 5)
    assert set(json.loads(body)) == TASK_FIELDS and len(json.loads(body)["outputs"]) == 2
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = simulator.wavespeed_secret.removeprefix("whsec_").encode()
    assert headers["webhook-signature"] == "v3," + hmac.new(key, content, hashlib.sha256).hexdigest()
    with pytest.raises(Unauthenticated):
        verified(wavespeed, headers, body + b" ")


async def test_create_poll_and_webhook_all_report_a_failed_task_with_200(
    simulator: RunningSimulator, wavespeed: WaveSpeed, receiver: Receiver
) -> None:
    failed = await created(wavespeed, receiver.url, outcome="fail", error="CUDA out of memory", **INSTANT)
    assert (failed.status, failed.error, failed.output) == ("failed", "CUDA out of memory", None)
    answer = ask(simulator, f"/predictions/{failed.id}/result")
    assert (answer.status_code, answer.json()["code"], answer.json()["data"]["code"]) == (200, 200, 1405)
    assert await wavespeed.get(failed.id, 5) == failed
    assert verified(wavespeed, *await receiver.get()) == failed


async def test_a_stalled_task_goes_on_and_cannot_be_cancelled(
    simulator: RunningSimulator, wavespeed: WaveSpeed
) -> None:
    new = await created(wavespeed, outcome="stall")
    assert await wavespeed.cancel(new.id, 5) is None
    simulator.advance(100_000)
    assert (await wavespeed.get(new.id, 5)).status == "running"


async def test_the_outputs_vanish_after_seven_days(simulator: RunningSimulator, wavespeed: WaveSpeed) -> None:
    done = await created(wavespeed, output="png", **INSTANT)
    simulator.advance(7 * 24 * 3600 - 10)
    assert httpx.get(url_of(done), trust_env=False).status_code == 200
    simulator.advance(10)
    assert httpx.get(url_of(done), trust_env=False).status_code == 404


# --- creates that go wrong


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (401, Throttled("provider_auth", 60)),
        (402, Throttled("billing", 60)),
        (429, Throttled("rate_limited", 30)),
        (500, Unknown("status 500")),
        (503, Unknown("status 503")),
    ],
)
async def test_a_chosen_refusal_creates_nothing_and_may_end_after_some_calls(
    simulator: RunningSimulator, wavespeed: WaveSpeed, status: int, outcome: SubmissionOutcome
) -> None:
    assert await create(wavespeed, create=status, create_times=1) == outcome
    assert simulator.predictions() == []
    assert isinstance(await create(wavespeed, create=status, create_times=1), Accepted)
    counts = simulator.census().creates_of(MODEL, "a fox")
    assert (counts.calls, counts.predictions) == (2, 1)


@pytest.mark.parametrize("status", [404, 422])
async def test_an_input_that_is_refused_is_rejected(wavespeed: WaveSpeed, status: int) -> None:
    assert isinstance(await create(wavespeed, create=status), Rejected)


async def test_a_throttled_create_says_when_to_repeat(wavespeed: WaveSpeed) -> None:
    assert await create(wavespeed, create=429, retry_after=7) == Throttled("rate_limited", 7)


@pytest.mark.parametrize(
    ("fault", "detail", "made"),
    [
        ("drop_before", "RemoteProtocolError", 0),
        ("apply_then_drop", "RemoteProtocolError", 1),
        ("hang", "TimeoutError", 0),
        ("apply_then_hang", "TimeoutError", 1),
    ],
)
async def test_an_unanswered_create_is_unknown_and_sent_once(
    simulator: RunningSimulator, wavespeed: WaveSpeed, fault: str, detail: str, made: int
) -> None:
    assert await create(wavespeed, create=fault, timeout=2.0) == Unknown(detail)
    counts = simulator.census().creates_of(MODEL, "a fox")
    assert (counts.calls, counts.predictions) == (1, made)


async def test_a_task_whose_create_was_dropped_still_sends_its_webhook(
    simulator: RunningSimulator, wavespeed: WaveSpeed, receiver: Receiver
) -> None:
    assert isinstance(await create(wavespeed, receiver.url, create="apply_then_drop", **INSTANT), Unknown)
    task = verified(wavespeed, *await receiver.get())
    assert (task.id, task.status) == (simulator.predictions()[0]["id"], "completed")


# --- webhooks that go astray


async def test_a_lost_webhook_is_never_sent_and_a_duplicate_comes_twice_with_one_id(
    simulator: RunningSimulator, wavespeed: WaveSpeed, receiver: Receiver
) -> None:
    await created(wavespeed, receiver.url, prompt="lost", webhook="lose", **INSTANT)
    await created(wavespeed, receiver.url, prompt="twice", webhook="duplicate", **INSTANT)
    first, second = await receiver.get(), await receiver.get()
    assert (first[0]["webhook-id"], first[1]) == (second[0]["webhook-id"], second[1])
    assert json.loads(first[1])["input"]["prompt"] == "twice"
    assert simulator.predictions()[1]["deliveries"] == []


@pytest.mark.parametrize("how", ["delay", "late"])
async def test_a_delayed_webhook_comes_after_its_delay(
    simulator: RunningSimulator, wavespeed: WaveSpeed, receiver: Receiver, how: str
) -> None:
    await created(wavespeed, receiver.url, prompt=how, webhook=how, webhook_delay=600, **INSTANT)
    simulator.advance(500)
    await created(wavespeed, receiver.url, prompt="ok", **INSTANT)
    assert json.loads((await receiver.get())[1])["input"]["prompt"] == "ok"
    simulator.advance(101)
    assert json.loads((await receiver.get())[1])["input"]["prompt"] == how


async def test_an_overtaking_webhook_is_answered_before_the_create_call_returns(
    wavespeed: WaveSpeed, receiver: Receiver
) -> None:
    made = await created(wavespeed, receiver.url, webhook="overtake", seconds=60)
    assert json.loads(receiver.received.get_nowait()[1])["id"] == made.id
    assert made.status == "completed"


# --- the account


async def test_every_route_needs_the_key_of_its_own_api(simulator: RunningSimulator) -> None:
    routes = [("POST", f"/{MODEL}"), ("GET", "/predictions/x/result"), ("GET", "/webhook/secret")]
    for method, path in routes:
        refused = ask(simulator, path, method, key=simulator.token)
        assert (refused.status_code, refused.json()["code"]) == (401, 401), path
    elsewhere = {"Authorization": f"Bearer {simulator.wavespeed_key}"}
    assert httpx.get(f"{simulator.url}/predictions", headers=elsewhere, trust_env=False).status_code == 401
    provider = provider_for(simulator, key="wrong")
    assert await create(provider) == Throttled("provider_auth", 60)
    with pytest.raises(ProviderUnavailable):
        await provider.get("x", 5)
    await provider.close()


def test_the_webhook_secret_is_in_an_envelope(simulator: RunningSimulator) -> None:
    assert ask(simulator, "/webhook/secret").json() == {
        "code": 200, "message": "success", "data": {"secret": simulator.wavespeed_secret},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/flux"),
        ("POST", "/predictions/delete"),
        ("POST", "/webhook/secret"),
        ("GET", "/predictions/none/result"),
    ],
)
def test_an_unknown_model_or_task_is_404(simulator: RunningSimulator, method: str, path: str) -> None:
    answer = ask(simulator, path, method)
    assert (answer.status_code, answer.json()["code"]) == (404, 404)


async def test_neither_api_knows_the_predictions_of_the_other(
    simulator: RunningSimulator, wavespeed: WaveSpeed
) -> None:
    ours = await created(wavespeed)
    body = {"version": "acme/video", "input": {"prompt": "a fox"}}
    with httpx.Client(base_url=simulator.url, headers=simulator.headers, trust_env=False) as replicate:
        theirs = replicate.post("/predictions", json=body).json()["id"]
        assert [each["id"] for each in replicate.get("/predictions").json()["results"]] == [theirs]
        assert replicate.get(f"/predictions/{ours.id}").status_code == 404
        assert replicate.post(f"/predictions/{ours.id}/cancel").status_code == 404
    with pytest.raises(PredictionGone):
        await wavespeed.get(theirs, 5)


async def test_the_census_counts_the_predictions_of_both_apis(
    simulator: RunningSimulator, wavespeed: WaveSpeed
) -> None:
    await created(wavespeed, seconds=100, group="user:ada")
    body = {"version": MODEL[:10], "input": {"prompt": "a fox", "simulate": {"seconds": 100, "group": "user:ada"}}}
    httpx.post(f"{simulator.url}/predictions", json=body, headers=simulator.headers, trust_env=False)
    census = simulator.census()
    assert (census.running, census.max_running_total, census.max_running) == (2, 2, {"user:ada": 2})
    assert [each["api"] for each in simulator.predictions()] == ["replicate", "wavespeed"]


async def test_each_api_has_its_own_rate_limit() -> None:
    with running_simulator(rate_limit=1) as limited:
        provider = provider_for(limited)
        outcomes = [await create(provider), await create(provider)]
        body = {"version": "acme/video", "input": {}}
        answer = httpx.post(f"{limited.url}/predictions", json=body, headers=limited.headers, trust_env=False)
        await provider.close()
    assert isinstance(outcomes[0], Accepted)
    assert isinstance(outcomes[1], Throttled) and 55 <= outcomes[1].retry_after <= 60
    assert answer.status_code == 201
