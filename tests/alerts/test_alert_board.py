"""What the operator sees of alerts over HTTP, and the silences."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.alerts.silences import MAX_SILENCES
from tests.alerts.looking import Looking, looking
from tests.world import AUTH, OPERATOR, http_client

ALERTS = "/api/operate/alerts"
SILENCES = f"{ALERTS}/silences"
ORDER = {"alert": "webhooks_refused", "minutes": 60, "reason": "it is known"}


@pytest.fixture
async def place() -> AsyncIterator[Looking]:
    async with looking() as made:
        yield made


@pytest.fixture
async def client(place: Looking) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as made:
        yield made


async def in_trouble(place: Looking) -> None:
    await place.world.raw("HSET", place.world.runtime.queue.keys.stats, "webhook_refused_at", "9" * 13)


async def test_the_operator_sees_what_stands(place: Looking, client: httpx.AsyncClient) -> None:
    empty = (await client.get(ALERTS, headers=OPERATOR)).json()
    assert (empty["alerts"], empty["looked_at"], empty["receivers"]) == ([], None, ["log"])
    assert empty["thresholds"]["oldest_wait"] == 3600
    await in_trouble(place)
    await place.look()
    (alert,) = (await client.get(ALERTS, headers=OPERATOR)).json()["alerts"]
    assert alert["key"] == "webhooks_refused" and alert["told_at"] == alert["since"]
    assert alert["runbook"] == "docs/runbook.md#webhooks-refused" and alert["silenced_until"] is None


async def test_a_silence_keeps_an_alert_from_being_told_until_it_ends(
    place: Looking, client: httpx.AsyncClient
) -> None:
    made = await client.post(SILENCES, headers=OPERATOR, json=ORDER)
    assert made.status_code == 201 and made.json()["reason"] == "it is known"
    await in_trouble(place)
    assert [await place.look() for _ in range(29)] == [[]] * 29
    shown = (await client.get(ALERTS, headers=OPERATOR)).json()
    assert shown["alerts"][0]["silenced_until"] == made.json()["until"]
    assert shown["alerts"][0]["told_at"] is None and len(shown["silences"]) == 1
    assert await place.look() == ["fired webhooks_refused"]
    assert (await client.get(ALERTS, headers=OPERATOR)).json()["silences"] == []


@pytest.mark.parametrize("alert", ["all", "webhooks_refused", "webhooks_refused:any", "circuit_open"])
async def test_a_silence_is_for_its_own_alert(place: Looking, client: httpx.AsyncClient, alert: str) -> None:
    await client.post(SILENCES, headers=OPERATOR, json=ORDER | {"alert": alert})
    await in_trouble(place)
    is_silent = alert in ("all", "webhooks_refused")
    assert await place.look() == ([] if is_silent else ["fired webhooks_refused"])


async def test_a_silence_that_is_lifted_ends_at_once(place: Looking, client: httpx.AsyncClient) -> None:
    silence = (await client.post(SILENCES, headers=OPERATOR, json=ORDER)).json()["id"]
    await in_trouble(place)
    assert await place.look() == []
    assert (await client.delete(f"{SILENCES}/{silence}", headers=OPERATOR)).status_code == 204
    assert await place.look() == ["fired webhooks_refused"]
    again = await client.delete(f"{SILENCES}/{silence}", headers=OPERATOR)
    assert (again.status_code, again.json()["code"]) == (404, "silence_not_found")


async def test_a_recovery_is_told_in_a_silence_too(place: Looking, client: httpx.AsyncClient) -> None:
    await in_trouble(place)
    await place.look()
    await client.post(SILENCES, headers=OPERATOR, json=ORDER)
    await place.world.raw("DEL", place.world.runtime.queue.keys.stats)
    told = [words for _ in range(8) if (words := await place.look())]
    assert told == [["recovered webhooks_refused"]]


async def test_silences_are_bounded(client: httpx.AsyncClient) -> None:
    codes = [(await client.post(SILENCES, headers=OPERATOR, json=ORDER)).status_code for _ in range(MAX_SILENCES + 1)]
    assert codes == [201] * MAX_SILENCES + [409]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"alert": "no_such_alert"}, "alert"), ({"alert": "all:x"}, "alert"), ({"alert": ""}, "alert"),
        ({"minutes": 0}, "minutes"), ({"minutes": 129_601}, "minutes"), ({"minutes": "60"}, "minutes"),
        ({"reason": ""}, "reason"), ({"reason": "x" * 201}, "reason"), ({"more": 1}, "more"),
    ],
)  # fmt: skip
async def test_a_silence_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, change: dict[str, object], field: str
) -> None:
    answer = await client.post(SILENCES, headers=OPERATOR, json=ORDER | change)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_only_the_operator_may_see_and_silence(client: httpx.AsyncClient) -> None:
    assert (await client.get(ALERTS, headers=AUTH)).status_code == 401
    assert (await client.post(SILENCES, headers=AUTH, json=ORDER)).status_code == 401
    assert (await client.delete(f"{SILENCES}/sil_1", headers=AUTH)).status_code == 401
