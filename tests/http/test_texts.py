"""What people write: names and texts of any script, as a job's user and its metadata."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.jobs.request import Id, MetadataText
from tests.http.calls import BODY, problem, status_of
from tests.world import AUTH, World, http_client

WRITTEN = {
    "Persian, with a zero-width non-joiner": "می\u200cخواهم",  # noqa: RUF001 (the script is meant)
    "Hindi, with a zero-width joiner": "क्\u200dष",
    "a joined emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "an emoji with a skin and a presentation": "\U0001f44d\U0001f3fd ❤\ufe0f",
    "French, with no-break spaces": "C\u2019est\u00a0ça\u202f!",
    "Japanese, with an ideographic space": "山田\u3000太郎",
    "Hebrew, with direction marks": "\u200fשלום\u200e (1)",  # noqa: RUF001 (the script is meant)
    "a number as phones paste it": "\u202a+49 30 1234\u202c",
    "a soft hyphen": "Donau\u00addampf",
    "a space at both ends": " ada ",
    "private use and a character of a later Unicode": "\ue000\U000e0fff",
}
NAME, TEXT = TypeAdapter(Id), TypeAdapter(MetadataText)
PLAIN = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\u202d\u202e")
LIMITED = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
async def test_what_people_write_is_taken_and_given_back(valkey_world: World, text: str) -> None:
    metadata = {text: f"{text}\nsecond line\r\n\tthird\v\f\x85\u2028fourth"}
    async with http_client(**AUTH) as client:
        job = (await client.post("/api/submit", json=BODY | {"user_id": text, "metadata": metadata})).json()
        document = await status_of(client, job["id"])
        assert (document["user_id"], document["metadata"]) == (text, metadata)
        (listed,) = (await client.get("/api/jobs", params={"user_id": text})).json()["jobs"]
        assert listed["id"] == job["id"]
        await client.post(f"/api/jobs/{job['id']}/cancel")
        assert (await client.delete("/api/users", params={"user_id": text})).json()["jobs"] == 1


@LIMITED
@given(st.text(PLAIN, min_size=1, max_size=128))
def test_a_name_may_have_any_character_but_controls_and_overrides(text: str) -> None:
    assert NAME.validate_python(text) == text
    assert TEXT.validate_python(text) == text


@LIMITED
@given(st.characters(categories=["Cc"]) | st.sampled_from("\u2028\u2029\u202d\u202e"), st.text(PLAIN, max_size=50))
def test_a_name_with_a_control_or_an_override_is_refused(bad: str, rest: str) -> None:
    for text in (bad + rest, rest + bad, rest + bad + rest):
        with pytest.raises(ValidationError):
            NAME.validate_python(text)
        if bad not in "\n\r\t\v\f\x85\u2028\u2029\u202d\u202e":
            with pytest.raises(ValidationError):
                TEXT.validate_python(text)


@pytest.mark.parametrize("field", ["user_id", "metadata"])
@pytest.mark.parametrize("bad", ["\0", "\x1b[31m", "\x7f", "\x85", "\u202e"])
async def test_a_refused_character_is_named_and_not_echoed(valkey_world: World, field: str, bad: str) -> None:
    body = BODY | {field: {bad: "x"} if field == "metadata" else bad}
    async with http_client(**AUTH) as client:
        answer = await client.post("/api/submit", json=body)
    assert problem(answer, 422, "invalid_request")["field"] == field
    assert json.dumps(bad)[1:-1] not in answer.text
