"""What happens to a notice while receivers fail, processes die in the middle, and releases differ."""

import asyncio
import json
from typing import Any

import pytest

from shared.alerts.alerts import WAITED_FOR
from shared.alerts.receivers import Sent
from shared.alerts.sending import MAX_TRIES
from shared.alerts.standing import State
from shared.alerts.texts import told
from shared.budget import Budget
from shared.errors import StoreUncertain
from tests.alerts.looking import Looking, Notebook, looking, refuse_webhooks, verify_webhooks
from tests.logs import all_logs
from tests.world import OPERATOR, http_client


class Hanging(Notebook):
    """Takes a notice and never answers."""

    begun = 0

    async def send(self, notice: object) -> Sent:
        self.begun += 1
        await asyncio.Event().wait()
        raise AssertionError


class Raising(Notebook):
    """Has a bug."""

    begun = 0

    async def send(self, notice: object) -> Sent:
        self.begun += 1
        raise KeyError(notice)


def beside(place: Looking, other: Notebook) -> None:
    """A further receiver, in a process that knows it."""
    place.places["other"] = other
    place.alerts = place.process()


async def keep(place: Looking, text: str) -> None:
    """Writes what is known of alerts."""
    await place.world.raw("HSET", place.world.runtime.queue.keys.alerts, "state", text)


async def test_a_receiver_that_outlives_each_process_gets_a_notice_six_times() -> None:
    async with looking() as place:
        hanging = Hanging()
        beside(place, hanging)
        await refuse_webhooks(place)
        for _ in range(40):
            begun = hanging.begun
            run = asyncio.create_task(place.look(25))
            while hanging.begun == begun and not run.done():
                await asyncio.sleep(0)
            run.cancel()
            await asyncio.wait([run])
            place.notebook.take()
        assert hanging.begun == MAX_TRIES


async def test_a_submit_has_time_to_note_what_it_has_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.alerts.alerts.WAITED_FOR", 0.6)
    async with looking() as place:
        beside(place, Hanging())
        await refuse_webhooks(place)
        with all_logs() as entries:
            await place.alerts.watch_schedule(Budget(50))
        assert place.notebook.words == ["fired webhooks_refused"]
        (notice,) = (await place.state())["notices"]
        assert notice["left"].keys() == {"other"}
        assert [entry["why"] for entry in entries if entry["event"] == "alert_not_sent"] == ["timeout"]


async def test_the_question_and_the_look_of_a_submit_share_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking() as place:
        given: list[float] = []

        async def slow() -> None:
            await asyncio.wait([asyncio.create_task(asyncio.Event().wait())], timeout=0.05)

        async def look(seconds: float) -> None:
            given.append(seconds)

        monkeypatch.setattr(place.alerts._store, "last_tick_at", slow)
        monkeypatch.setattr(place.alerts, "_look_within", look)
        await place.alerts.watch_schedule(Budget(50))
        assert len(given) == 1 and 1 < given[0] <= WAITED_FOR - 0.04


async def test_a_receiver_that_raises_lets_no_other_be_told_twice() -> None:
    async with looking() as place:
        raising = Raising()
        beside(place, raising)
        await refuse_webhooks(place)
        with all_logs() as entries:
            assert [words for _ in range(40) if (words := await place.look())] == [["fired webhooks_refused"]]
        assert raising.begun == MAX_TRIES
        assert {entry["why"] for entry in entries if entry["event"] == "alert_not_sent"} == {"KeyError"}


async def test_what_another_release_has_written_harms_nobody() -> None:
    async with looking() as place, http_client() as client:
        await refuse_webhooks(place)
        await place.look()
        state = await place.state()
        alert = state["alerts"]["webhooks_refused"] | {"key": "new", "name": "new"}
        change = {"word": "fired", "severity": "critical", "since": 1, "text": "", "figures": {}, "names": []}
        notice = {"id": "alr_1", "at": 1, "changes": [change | {"key": "new", "name": "new"}], "left": {}}
        state["alerts"]["new"] = alert
        state["notices"] = [notice | {"left": {"notebook": [0, 1]}}]
        await keep(place, json.dumps(state))
        shown = (await client.get("/api/operate/alerts", headers=OPERATOR)).json()
        assert [one["key"] for one in shown["alerts"]] == ["webhooks_refused"]
        assert await place.look() == ["fired new"]
        (said,) = told(notice, place.world.runtime.settings, str)  # type: ignore[arg-type]
        assert said.lead == "Fired: new"


@pytest.mark.parametrize(
    "text",
    [
        "[1]", '{"alerts": 7}', '{"alerts": {"store_slow": {"key": 1}}}', '{"alerts": {"store_slow": 7}}',
        '{"notices": [1]}', '{"notices": {}}', '{"sent_at": ["x"]}', '{"sent_at": 7}', '{"began_at": "x"}',
        '{"counts": {"rescued": {"last": "x", "grown": []}}}', '{"recovered": {"store_slow": "x"}}',
    ],
)  # fmt: skip
async def test_a_state_of_wrong_types_is_read_without_them(text: str) -> None:
    async with looking() as place, http_client() as client:
        await keep(place, text)
        assert (await client.get("/api/operate/alerts", headers=OPERATOR)).status_code == 200
        await refuse_webhooks(place)
        assert await place.look() == ["fired webhooks_refused"]


@pytest.mark.parametrize("trouble", ["error", "hangs"])
async def test_counts_that_fail_silence_no_other_alert(monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    monkeypatch.setattr("shared.alerts.alerts.COUNTS_DEADLINE", 0.05)

    async def failing(*_: object) -> Any:
        if trouble == "error":
            raise StoreUncertain
        await asyncio.Event().wait()

    async with looking(statistics=True) as place:
        monkeypatch.setattr(place.alerts._counts, "ends", failing)
        monkeypatch.setattr(place.alerts._counts, "outlook", failing)
        await refuse_webhooks(place)
        assert await place.look() == ["fired webhooks_refused"]


async def test_a_failure_beside_a_look_cuts_off_no_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking() as place:
        tick, ended = place.world.runtime.tick, asyncio.Event()

        async def failing(*_: object) -> None:
            ended.set()
            raise StoreUncertain

        async def look(_: Budget) -> None:
            await ended.wait()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            place.notebook.answers.append(Sent(has_come=True))

        monkeypatch.setattr(tick, "_go_on", failing)
        monkeypatch.setattr(tick, "_look", look)
        with pytest.raises(StoreUncertain):
            await tick.run()
        assert place.notebook.answers == [Sent(has_come=True)]


async def test_a_submit_survives_a_question_that_fails_in_any_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking() as place:

        async def failing() -> int:
            raise ValueError

        monkeypatch.setattr(place.alerts._store, "last_tick_at", failing)
        with all_logs() as entries:
            await place.alerts.watch_schedule(Budget(50))
        assert [entry["error"] for entry in entries if entry["event"] == "alerts_not_looked_at"] == ["ValueError"]


async def test_receivers_are_made_when_there_is_a_notice() -> None:
    async with looking() as place:
        await place.look()
        assert "receivers" not in vars(place.alerts._sending)
        await refuse_webhooks(place)
        await place.look()
        assert "receivers" in vars(place.alerts._sending)


async def test_a_notice_waits_an_hour_for_a_receiver_that_this_process_does_not_have() -> None:
    async with looking() as place:
        beside(place, Notebook(answers=[Sent(has_come=False)]))
        await refuse_webhooks(place)
        await place.look()
        del place.places["other"]
        with all_logs() as entries:
            for _ in range(29):
                await place.look()
            assert len((await place.state())["notices"]) == 1 and not entries
            await place.look()
        assert (await place.state())["notices"] == []
        assert [(entry["to"], entry["why"]) for entry in entries if entry["event"] == "alert_not_sent"] == [
            ("other", "no such receiver")
        ]


async def test_beyond_ten_notices_what_is_critical_is_told_and_the_rest_comes_together() -> None:
    async with looking() as place:
        await refuse_webhooks(place)
        assert await place.look() == ["fired webhooks_refused"]
        state = State.read(json.dumps(await place.state()))
        state.sent_at = [place.world.clock.now()] * 10
        await keep(place, state.written())
        await verify_webhooks(place)
        keys = place.world.runtime.queue.keys
        await place.world.raw("ZADD", keys.lost, "1", "|job_1:1:", "2", "|job_2:1:")
        assert [await place.look() for _ in range(10)] == [[]] * 10
        await place.world.raw("HSET", keys.job("job_late"), "storing", "1", "ended_at", "1")
        await place.world.raw("ZADD", keys.outbox, "-1", "job_late")
        assert await place.look() == ["fired copy_overdue"]
        later = [words for _ in range(30) if (words := await place.look())]
        assert later == [["recovered webhooks_refused", "fired submissions_unknown"]]


async def test_an_alert_that_comes_back_is_told_an_hour_after_its_recovery() -> None:
    async with looking() as place:
        told_at = []
        for minute in range(0, 120, 2):
            await (verify_webhooks(place) if 10 <= minute < 24 else refuse_webhooks(place))
            told_at += [(minute, words) for words in [await place.look()] if words]
        assert told_at == [
            (0, ["fired webhooks_refused"]), (20, ["recovered webhooks_refused"]), (80, ["fired webhooks_refused"]),
        ]  # fmt: skip


async def test_a_tick_that_comes_a_second_early_looks() -> None:
    async with looking() as place:
        for _ in range(3):
            await place.look(119 / 60)
            looked_at = await place.world.raw("HGET", place.world.runtime.queue.keys.alerts, "looked_at")
            assert int(looked_at) == place.world.clock.now()
