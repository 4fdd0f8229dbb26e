"""A day in which each trouble happens once: each alert fires once, recovers once, and says the right thing."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.budget import Budget
from shared.config.alerts import THRESHOLDS
from shared.dispatch.dispatcher import Report
from shared.jobqueue.constants import BAND
from tests.alerts.looking import Looking, looking

Step = Callable[[], Awaitable[object]]
HOUR = 60


class Day:
    """The troubles by the minute at which they begin and end."""

    def __init__(self, place: Looking, patch: pytest.MonkeyPatch) -> None:
        self.place, self.patch = place, patch
        self.world, self.keys = place.world, place.world.runtime.queue.keys
        self.has_schedule = True

    def steps(self) -> dict[int, Step]:
        return {
            1 * HOUR: self.refuse, 2 * HOUR: self.accept,
            3 * HOUR: self.open_circuit, 4 * HOUR: self.close_circuit,
            5 * HOUR: self.slow_down, 6 * HOUR: self.speed_up,
            7 * HOUR: self.kill_jobs,
            9 * HOUR: self.lose_submissions, 10 * HOUR: self.settle_submissions,
            11 * HOUR: self.leave_files, 12 * HOUR: self.store_files,
            13 * HOUR: self.fail_hooks, 14 * HOUR: self.deliver_hooks,
            15 * HOUR: self.heal_slots,
            16 * HOUR: self.fail_jobs,
            16 * HOUR + 30: self.use_up_commands, 16 * HOUR + 45: self.forget_commands,
            17 * HOUR: self.refuse_webhooks, 18 * HOUR: self.verify_webhooks,
            18 * HOUR + 30: self.stop_dispatch, 19 * HOUR + 30: self.start_dispatch,
            19 * HOUR + 45: self.pause_all, 21 * HOUR + 15: self.resume_all,
            22 * HOUR: self.stop_schedule, 23 * HOUR: self.start_schedule,
        }  # fmt: skip

    async def refuse(self) -> None:
        self.refused = await self.world.enqueue(start=True, model="acme/video")
        await self.world.runtime.queue.snooze(self.refused, 1, delay=7200, code="billing", pause=True, status=402)

    async def accept(self) -> None:
        await self.world.raw("ZREM", self.keys.index, "~p0")
        await self.world.runtime.queue.cancel(self.refused, "app")

    async def open_circuit(self) -> None:
        score = str(self.world.clock.now() + 36_000_000 - BAND)
        await self.world.raw("ZADD", self.keys.index, score, "~o0:acme/bad")

    async def close_circuit(self) -> None:
        await self.world.raw("ZREM", self.keys.index, "~o0:acme/bad")

    async def slow_down(self) -> None:
        self.place.latency = 1.5

    async def speed_up(self) -> None:
        self.place.latency = 0.01

    async def kill_jobs(self) -> None:
        for number in range(12):
            await self.world.raw("ZADD", self.keys.dead, str(self.world.clock.now()), f"dead{number}")
            await self.world.raw("HSET", self.keys.job(f"dead{number}"), "model", "acme/bad")

    async def lose_submissions(self) -> None:
        now = str(self.world.clock.now())
        await self.world.raw("ZADD", self.keys.lost, now, "|lost1:1:", now, "|lost2:1:")

    async def settle_submissions(self) -> None:
        await self.world.raw("DEL", self.keys.lost)

    async def leave_files(self) -> None:
        now = self.world.clock.now()
        await self.world.raw("HSET", self.keys.job("job_late"), "storing", "1", "ended_at", str(now))
        await self.world.raw("ZADD", self.keys.outbox, str(now + 36_000_000 - BAND), "job_late")

    async def store_files(self) -> None:
        await self.world.raw("ZREM", self.keys.outbox, "job_late")

    async def fail_hooks(self) -> None:
        await self.world.raw("HSET", self.keys.lane_state("app:abc"), "failures", "9")
        await self.world.raw("ZADD", self.keys.outbox, str(self.world.clock.now() + 36_000_000), "app:abc")

    async def deliver_hooks(self) -> None:
        await self.world.raw("ZREM", self.keys.outbox, "app:abc")

    async def heal_slots(self) -> None:
        await self.world.raw("HINCRBY", self.keys.stats, "rehomed", "4")

    async def fail_jobs(self) -> None:
        for _ in range(10):
            job = await self.world.enqueue(start=True, model="acme/bad")
            await self.world.runtime.queue.fail(job, 1, "p", code="timeout", detail="", retryable=False)

    async def use_up_commands(self) -> None:
        day = datetime.fromtimestamp(self.world.clock.now() / 1000, UTC)
        self.month = self.keys.commands(f"{day:%Y-%m}")
        await self.world.raw("HSET", self.month, f"{day:%d}:claim", "900000")

    async def forget_commands(self) -> None:
        await self.world.raw("DEL", self.month)

    async def refuse_webhooks(self) -> None:
        await self.world.runtime.controls.note_refused_webhook()

    async def verify_webhooks(self) -> None:
        await self.world.runtime.controls.forget_refused_webhook()

    async def stop_dispatch(self) -> None:
        self.waiting = await self.world.enqueue()

        async def idle(*_: object, **__: object) -> Report:
            await self.world.raw("HSET", self.keys.stats, "tick_at", str(self.world.clock.now()))
            return Report()

        self.patch.setattr(self.world.runtime.dispatcher, "run", idle)

    async def start_dispatch(self) -> None:
        self.patch.delattr(self.world.runtime.dispatcher, "run")
        await self.world.runtime.queue.cancel(self.waiting, "app")

    async def pause_all(self) -> None:
        await self.world.runtime.controls.set_gates({"=s": 0})
        self.waiting = await self.world.enqueue()

    async def resume_all(self) -> None:
        await self.world.runtime.queue.cancel(self.waiting, "app")
        await self.world.runtime.controls.set_gates({"=s": None})

    async def stop_schedule(self) -> None:
        self.has_schedule = False

    async def start_schedule(self) -> None:
        self.has_schedule = True

    async def minute(self) -> None:
        """A tick, or without a schedule the work of a submit."""
        if self.has_schedule:
            await self.world.runtime.tick.run()
        else:
            await self.world.runtime.watch_schedule(Budget(50))


# What is told, in its order: at which minutes, and with which text when it fires.
TOLD = [
    ("provider_refuses:replicate", 60, 130,
     "replicate has refused submissions for 0 s: billing, status 402, 1 refusal."),
    ("circuit_open", 186, 250, "A model has failed for several users in a row, and waits."),
    ("store_slow", 304, 370, "A call of the store took 1500 ms."),
    ("dead_letters", 420, 492, "12 dead letters came in the last hour."),
    ("submissions_unknown", 540, 610, "2 of 5 slots are held by submissions whose outcome is unknown."),
    ("copy_overdue", 690, 730, "Files of a job that ended 30 min ago are not stored yet."),
    ("hooks_failing", 780, 850, "1 failing host of hooks, up to 9 times in a row."),
    ("slots_healed", 900, 970, "In the last hour: 4 jobs that the index had lost were put back."),
    ("failure_rate", 960, 1030, "In the last hour 10 of 10 jobs of a model failed by its provider's fault."),
    ("commands_near_end", 990, 1016, "# commands were counted this month, # % of COMMANDS_QUOTA."),
    ("webhooks_refused", 1020, 1046,
     "Webhooks of a provider were refused, the last one 0 s ago: its secret may be wrong."),
    ("jobs_not_started", 1118, 1180, "A job could have started 8 min ago, and has not."),
    ("oldest_wait", 1246, 1286, "The next job of a line was submitted 61 min ago."),
    ("schedule_silent", 1330, 1390, "No tick has come for 11 min."),
]  # fmt: skip


@pytest.mark.exhaustive
async def test_in_a_day_each_alert_fires_once_recovers_once_and_says_the_right_thing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: dict[str, list[tuple[str, int, str]]] = {}
    # One trouble at a time: ten failed jobs are neither a circuit nor ten dead letters here.
    changes: dict[str, Any] = {"circuit_failures": 0, "alert_thresholds": "dead_letters:12", "max_user_tasks": 20}
    counts: dict[str, Any] = {"statistics": True, "count_commands": True, "commands_quota": 1_000_000}
    async with looking(**changes, **counts) as place:
        place.world.runtime.alerts = place.alerts
        day = Day(place, monkeypatch)
        steps = day.steps()
        for minute in range(24 * HOUR):
            if minute in steps:
                await steps[minute]()
            await day.minute()
            for notice in place.notebook.notices:
                for change in notice["changes"]:
                    told.setdefault(change["key"], []).append((change["word"], minute, change["text"]))
            place.notebook.notices.clear()
            place.world.manual.advance(60)
    assert {key: [(word, at) for word, at, _ in changes] for key, changes in told.items()} == {
        key: [("fired", fired), ("recovered", recovered)] for key, fired, recovered, _ in TOLD
    }
    # The day's own commands are counted by a sample, which differs from run to run.
    near = told["commands_near_end"]
    near[0] = (*near[0][:2], re.sub(r"\d+", "#", near[0][2]))
    assert {key: changes[0][2] for key, changes in told.items()} == {key: text for key, _, _, text in TOLD}
    assert {key.partition(":")[0] for key in told} == set(THRESHOLDS)
