"""Answers that cannot be read as a whole: what is read of them all the same, and how much of them is held."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from shared.json_value import MAX_DEPTH, Json, read_json
from shared.providers.base import Accepted, Prediction, Submission, Unknown
from shared.providers.reading import MAX_ANSWER, MAX_APART, UNREAD, read_answer
from shared.providers.replicate_api import Replicate
from shared.providers.replicate_api import prediction_of as replicate_prediction
from shared.providers.wavespeed import WaveSpeed
from shared.providers.wavespeed import prediction_of as wavespeed_prediction
from tests.providers.trees import TREES
from tests.providers.wavespeed import BASE as WAVESPEED
from tests.world import settings_for

BASE = "https://api.replicate.com/v1"
SUBMISSION = Submission("job_1", 1, "acme/video", {"prompt": "x"}, None, 90)
MIDNIGHT = datetime(2026, 11, 28, tzinfo=UTC)
DIGITS = b"9" * 5000
MiB = 1024 * 1024


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def replicates(output: bytes, status: bytes = b"succeeded") -> bytes:
    """A prediction as Replicate writes it: the id first, the status behind the output."""
    return (
        b'{"id": "p1", "model": "acme/video", "logs": "a \\"quoted\\" ] brace }", "output": ' + output
        + b', "error": null, "status": "' + status + b'", "metrics": {"total_time": 2}}'
    )  # fmt: skip


def wavespeeds(outputs: bytes) -> bytes:
    return (
        b'{"code": 200, "message": "success", "data": {"id": "p1", "outputs": ['
        + outputs
        + b'], "status": "completed"}}'
    )


@pytest.fixture
async def replicate() -> AsyncIterator[Replicate]:
    provider = Replicate(settings_for(None, replicate_api_token="r8_token"))
    yield provider
    await provider.close()


@pytest.mark.parametrize(
    ("completed_at", "ended_at"),
    [("2027-01-15T08:00:01.5Z", 1_800_000_001_500), ("2027-01-15T08:00:01", None), ("soon", None), (7, None)],
)
def test_the_moment_of_an_end_is_replicates_own(completed_at: object, ended_at: int | None) -> None:
    document = json.dumps({"id": "p1", "status": "succeeded", "output": "x", "completed_at": completed_at})
    assert replicate_prediction(read_answer(document.encode())).ended_at == ended_at
    running = document.replace("succeeded", "processing").encode()
    assert replicate_prediction(read_answer(running)).ended_at is None


@pytest.mark.parametrize("depth", [1, 2, MAX_DEPTH, MAX_DEPTH + 1, 500, 1500, 5000, 200_000])
def test_an_output_of_any_depth_is_read_or_the_prediction_is_unreadable(depth: int) -> None:
    prediction = replicate_prediction(read_answer(replicates(nested(depth))))
    assert (prediction.id, prediction.model, prediction.seconds) == ("p1", "acme/video", 2)
    assert prediction.status == ("completed" if depth <= MAX_DEPTH else "unreadable")
    assert wavespeed_prediction(read_answer(wavespeeds(nested(depth)))).status == (
        "completed" if depth < MAX_DEPTH else "unreadable"
    )


@pytest.mark.parametrize("output", [DIGITS, b"[" + DIGITS + b"]", b'{"a": -' + DIGITS + b"}", b'"\xff"'])
def test_an_output_that_cannot_be_read_leaves_the_rest_readable(output: bytes) -> None:
    assert replicate_prediction(read_answer(replicates(output))).status == "unreadable"
    assert wavespeed_prediction(read_answer(wavespeeds(output))).status == "unreadable"


@pytest.mark.parametrize("status", [b"processing", b"failed", b"canceled"])
def test_an_unread_output_is_of_no_account_while_a_run_goes_on_or_has_failed(status: bytes) -> None:
    ours = {b"processing": "running"}.get(status, status.decode())
    assert replicate_prediction(read_answer(replicates(nested(1500), status))).status == ours


def test_other_members_that_cannot_be_read_do_not_matter() -> None:
    body = b'{"id": "p1", "input": {"seed": ' + DIGITS + b'}, "output": "x", "status": "succeeded"}'
    assert replicate_prediction(read_answer(body)) == Prediction("p1", "completed", output="x")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[", b"{", b'{"id": "p1", "status"', b'{"id" "p1"}', b'{"id": "p1" 1}', b"<html>"]
)
def test_what_is_no_document_or_ends_too_early_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"prediction|JSON|early"):
        replicate_prediction(read_answer(body))


@pytest.mark.parametrize("end", range(20, 60, 7))
def test_a_body_that_ended_on_its_way_is_not_an_unreadable_end(end: int) -> None:
    with pytest.raises(ValueError, match="early"):
        read_answer(replicates(nested(1500))[:-end])


def test_a_document_that_contains_itself_again_and_again_is_taken_apart_a_few_times() -> None:
    assert read_answer(b'{"data":' * 5000 + b"1" + b"}" * 5000) == {"data": {"data": UNREAD}}


@given(TREES, st.integers(0, 400))
def test_every_document_is_read_as_python_reads_it_and_no_part_of_it_raises_another_error(tree: Json, cut: int) -> None:
    body = json.dumps({"id": "p1", "output": tree, "status": "succeeded"}).encode()
    assert read_answer(body) == json.loads(body)
    refused = body[:-1] + b', "logs": ' + nested(MAX_DEPTH + 1) + b"}"
    assert read_answer(refused) == {**json.loads(body), "logs": UNREAD}
    part = read_answer(body[: max(1, cut)], is_cut=True)
    assert isinstance(part, dict) and part.get("id") in (None, UNREAD, "p1")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_a_value_error(body: bytes) -> None:
    for is_cut in (False, True):
        try:
            read_answer(b"{" + body, is_cut=is_cut)
        except ValueError:
            continue


@pytest.mark.parametrize("unit", [b"[", b'"",', b"[1,", b'\\"', b'{"a":', b"[]", b"\\", b"1"])
def test_only_the_beginning_of_a_large_answer_is_taken_apart(unit: bytes) -> None:
    body = b'{"id": "p1", "output": [' + unit * (2 * MAX_APART // len(unit))
    document = read_answer(body, is_cut=True)
    assert isinstance(document, dict) and document["id"] == "p1" and document["status"] is UNREAD


class Counted(httpx.AsyncByteStream):
    """An answer of 200 MB in blocks of 64 KB, which counts what is taken of it."""

    def __init__(self, head: bytes) -> None:
        self.head, self.taken = head, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.head
        for _ in range(200 * 16):
            self.taken += 64 * 1024
            yield b"x" * (64 * 1024)


@respx.mock
async def test_no_more_of_an_answer_is_taken_than_its_cap(replicate: Replicate) -> None:
    streams = [Counted(b'{"id": "p1", "status": "succeeded", "output": "'), Counted(b'{"id": "p1", "output": "')]
    for stream in streams:
        respx.get(f"{BASE}/predictions/p1").mock(return_value=httpx.Response(200, stream=stream))
        assert await replicate.get("p1", 5) == Prediction("p1", "unreadable")
        assert stream.taken <= MAX_ANSWER + 64 * 1024
    stream = Counted(b'{"id": "p1", "output": "')
    respx.post(f"{BASE}/models/acme/video/predictions").mock(return_value=httpx.Response(201, stream=stream))
    assert await replicate.create(SUBMISSION, 15) == Accepted(Prediction("p1", "unreadable"))
    assert stream.taken <= MAX_ANSWER + 64 * 1024


@respx.mock
async def test_no_answer_comes_compressed(replicate: Replicate) -> None:
    route = respx.get(f"{BASE}/predictions/p1").respond(200, content=replicates(b"1"))
    await replicate.get("p1", 5)
    assert route.calls.last.request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (201, replicates(nested(1500), b"starting"), Accepted),
        (201, b'{"id": "p1", "input": ' + nested(5000) + b"}", Accepted),
        (201, b'{"id": "p1", "input": {"seed": ' + DIGITS + b"}}", Accepted),
        (201, b'{"input": ' + nested(5000) + b"}", Unknown),
        (201, b'{"id": "p1", "input": ' + nested(1500), Unknown),
    ],
)
@respx.mock
async def test_a_create_whose_answer_names_a_prediction_is_accepted(
    replicate: Replicate, status: int, body: bytes, outcome: type[Any]
) -> None:
    respx.post(f"{BASE}/models/acme/video/predictions").respond(status, content=body)
    made = await replicate.create(SUBMISSION, 15)
    assert isinstance(made, outcome)
    assert not isinstance(made, Accepted) or made.prediction.id == "p1"


@respx.mock
async def test_a_create_of_wavespeed_whose_answer_names_a_task_is_accepted() -> None:
    provider = WaveSpeed(settings_for(None, wavespeed_api_key="k"))
    respx.post(f"{WAVESPEED}/acme/video").respond(200, content=wavespeeds(nested(1500)))
    made = await provider.create(SUBMISSION, 15)
    assert isinstance(made, Accepted) and made.prediction.id == "p1"
    await provider.close()


@respx.mock
async def test_a_cancelled_prediction_is_known_by_an_answer_that_cannot_be_read(replicate: Replicate) -> None:
    respx.post(f"{BASE}/predictions/p1/cancel").respond(200, content=replicates(nested(1500), b"canceled"))
    assert await replicate.cancel("p1", 5) == Prediction(
        "p1", "canceled", model="acme/video", seconds=2, metrics={"total_time": 2.0}
    )


def test_a_text_with_many_brackets_is_not_deep() -> None:
    assert read_json(json.dumps(["[" * 500] * 3)) == ["[" * 500] * 3
    assert read_json(b"[" + b"[]," * 500 + b"[]]") == [[]] * 501
