"""Who is told, how often, and what a receiver that fails costs."""

import asyncio

import pytest

from shared.alerts.alerts import Alerts
from shared.alerts.changes import HOUR, is_held
from shared.alerts.receivers import Sent
from shared.alerts.sending import MAX_TRIES
from shared.alerts.standing import State
from shared.budget import Budget
from shared.errors import StoreUncertain
from tests.alerts.looking import Notebook, looking, refuse_webhooks, verify_webhooks
from tests.logs import all_logs

FAILED = Sent(has_come=False, why="status 500")


async def test_an_alert_fires_once_and_recovers_once() -> None:
    async with looking() as place:
        await refuse_webhooks(place)
        assert [await place.look() for _ in range(30)] == [["fired webhooks_refused"], *[[]] * 29]
        await verify_webhooks(place)
        assert [await place.look() for _ in range(6)] == [[]] * 5 + [["recovered webhooks_refused"]]
        assert [await place.look() for _ in range(30)] == [[]] * 30


async def test_a_trouble_that_comes_and_goes_is_one_alert() -> None:
    async with looking() as place:
        told = []
        for _ in range(20):
            await refuse_webhooks(place)
            told += await place.look()
            await verify_webhooks(place)
            told += await place.look()
        assert told == ["fired webhooks_refused"]


async def test_an_alert_that_stands_is_told_again_each_day() -> None:
    async with looking() as place:
        await refuse_webhooks(place)
        told = [(hour, words) for hour in range(60) if (words := await place.look(60))]
        assert told == [(0, ["fired webhooks_refused"]), *((h, ["reminder webhooks_refused"]) for h in (24, 48))]


async def test_what_happens_together_is_told_together() -> None:
    async with looking() as place:
        await refuse_webhooks(place)
        lost = place.world.runtime.queue.keys.lost
        await place.world.raw("ZADD", lost, "1", "|job_1:1:", "2", "|job_2:1:")
        place.world.manual.advance(120)
        await place.alerts.run(Budget(50))
        assert len(place.notebook.notices) == 1
        assert sorted(place.notebook.words) == ["fired submissions_unknown", "fired webhooks_refused"]


async def test_of_two_processes_that_tick_at_once_one_looks_and_one_tells(any_store: None) -> None:
    async with looking(any_store) as place:
        await refuse_webhooks(place)
        others = [place.process() for _ in range(4)]
        place.world.manual.advance(120)
        await asyncio.gather(*(one.run(Budget(50)) for one in others))
        assert place.notebook.words == ["fired webhooks_refused"]
        for one in others:
            await one.run(Budget(50))
        assert len(place.notebook.notices) == 1


async def test_of_two_processes_that_saw_the_same_one_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is wrong lets a second process look while the first one has not written yet."""
    async with looking() as place:
        await refuse_webhooks(place)
        other, first = place.process(), place.alerts._store.put

        async def overtaken(field: str, seen: str, value: str) -> bool:
            monkeypatch.setattr(place.alerts._store, "put", first)
            place.world.manual.advance(200)
            await other.run(Budget(50))
            return await first(field, seen, value)  # type: ignore[arg-type]

        monkeypatch.setattr(place.alerts._store, "put", overtaken)
        await place.alerts.run(Budget(50))
        assert place.notebook.words == ["fired webhooks_refused"]


async def test_a_crash_between_telling_and_noting_tells_once_more_under_the_same_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with looking() as place:
        await refuse_webhooks(place)
        put, calls = place.alerts._store.put, 0

        async def dying(field: str, seen: str, value: str) -> bool:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise StoreUncertain
            return await put(field, seen, value)  # type: ignore[arg-type]

        monkeypatch.setattr(place.alerts._store, "put", dying)
        place.world.manual.advance(120)
        await place.alerts.run(Budget(50))
        place.alerts = place.process()
        place.world.manual.advance(120)
        await place.alerts.run(Budget(50))
        first, second = place.notebook.notices
        assert first["id"] == second["id"]
        place.notebook.notices.clear()
        assert [await place.look() for _ in range(10)] == [[]] * 10


async def test_a_receiver_that_fails_is_tried_by_later_looks_and_then_left() -> None:
    async with looking() as place:
        other = Notebook()
        place.places["other"] = other
        place.alerts = place.process()
        other.answers = [FAILED] * 100
        await refuse_webhooks(place)
        with all_logs() as entries:
            told = [await place.look() for _ in range(60)]
        assert told == [["fired webhooks_refused"], *[[]] * 59]
        assert other.answers == [FAILED] * (100 - MAX_TRIES)
        tries = [entry for entry in entries if entry["event"] == "alert_not_sent"]
        assert [entry["tries"] for entry in tries] == list(range(1, MAX_TRIES + 1))
        assert tries[-1]["log_level"] == "error" and tries[0]["why"] == "status 500"


async def test_a_receiver_that_fails_once_gets_all_notices_in_their_order() -> None:
    async with looking() as place:
        place.notebook.answers = [FAILED, FAILED]
        await refuse_webhooks(place)
        assert await place.look() == []
        lost = place.world.runtime.queue.keys.lost
        await place.world.raw("ZADD", lost, "1", "|job_1:1:", "2", "|job_2:1:")
        told = [words for _ in range(10) if (words := await place.look())]
        assert told == [["fired webhooks_refused"], ["fired submissions_unknown"]]


async def test_a_receiver_is_not_tried_before_it_wants_to_be() -> None:
    async with looking() as place:
        place.notebook.answers = [Sent(has_come=False, why="status 429", wait=900)]
        await refuse_webhooks(place)
        told = [await place.look() for _ in range(9)]
        assert told == [*[[]] * 8, ["fired webhooks_refused"]]


async def test_a_receiver_that_hangs_is_given_up_and_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(Notebook):
        async def send(self, notice: object) -> Sent:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr("shared.alerts.sending.SEND_DEADLINE", 0.05)
    async with looking() as place:
        place.places["other"] = Hanging()
        place.alerts = place.process()
        await refuse_webhooks(place)
        assert await place.look() == ["fired webhooks_refused"]
        assert (await place.state())["notices"][0]["left"].keys() == {"other"}


async def test_more_than_ten_notices_an_hour_wait_and_come_together() -> None:
    async with looking(alert_period=60) as place:
        told = []
        for number in range(50):
            if number % 4 == 0:
                index = place.world.runtime.queue.keys.index
                await place.world.raw("ZADD", index, "-1", f"~p{number % 2}")
            place.latency = 1.5 if number % 30 < 15 else 0.1
            await (refuse_webhooks(place) if number % 24 < 12 else verify_webhooks(place))
            told += [await place.look(1)]
        assert sum(bool(words) for words in told) <= 10
        await verify_webhooks(place)
        place.latency = 0.1
        told += [await place.look(5) for _ in range(30)]
        flat = [word for words in told for word in words]
        assert {word.partition(" ")[2] for word in flat} == {"store_slow", "webhooks_refused"}
        for key in ("store_slow", "webhooks_refused"):
            assert flat.count(f"fired {key}") == flat.count(f"recovered {key}") > 0
    now = 1_800_000_000_000
    assert is_held(now, State(sent_at=[now - 1] * 10)) and not is_held(now, State(sent_at=[now - HOUR] * 10))


async def test_without_a_receiver_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking() as place:
        assert place.world.runtime.settings.has_alerts
        place.world.another_process(alert_log=False)
        monkeypatch.setattr(Alerts, "run", None)
        monkeypatch.setattr(Alerts, "watch_schedule", None)
        await place.world.runtime.tick.run()
        await place.world.runtime.watch_schedule(Budget(50))
        assert await place.world.raw("EXISTS", place.world.runtime.queue.keys.alerts) == 0


async def test_a_look_that_fails_ends_no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking() as place:
        monkeypatch.setattr("shared.alerts.alerts.findings", None)
        with all_logs() as entries:
            await place.alerts.run(Budget(50))
        assert [entry["error"] for entry in entries if entry["event"] == "alerts_failed"] == ["TypeError"]


async def test_a_state_that_cannot_be_read_is_begun_anew() -> None:
    async with looking() as place:
        for text in ("no json", '{"alerts": 7', "[]"):
            await place.world.raw("HSET", place.world.runtime.queue.keys.alerts, "state", text)
            await place.look()
        assert (await place.state())["alerts"] == {}


async def test_submits_notice_that_no_tick_comes() -> None:
    async with looking() as place:
        world = place.world
        world.runtime.alerts = place.alerts
        await world.runtime.tick.run()
        minute = 0
        while not place.notebook.notices:
            minute += 1
            world.manual.advance(60)
            await world.runtime.watch_schedule(Budget(50))
        assert minute == 11
        assert place.notebook.take() == ["fired schedule_silent"]
        text = (await place.state())["alerts"]["schedule_silent"]["text"]
        assert text == "No tick has come for 11 min."
        for _ in range(10):
            world.manual.advance(60)
            await world.runtime.tick.run()
        assert place.notebook.take() == []
        for _ in range(10):
            world.manual.advance(60)
            await world.runtime.tick.run()
        assert place.notebook.take() == ["recovered schedule_silent"]


async def test_submits_notice_that_there_never_was_a_tick() -> None:
    async with looking() as place:
        for _ in range(4):
            place.world.manual.advance(300)
            await place.alerts.watch_schedule(Budget(50))
        assert place.notebook.words == ["fired schedule_silent"]
        assert (
            place.notebook.notices[0]["changes"][0]["text"] == "No tick has come since alerts were switched on, 10 min."
        )
