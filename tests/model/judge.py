"""A store in memory mode that compares every call with the model."""

import asyncio
from collections import Counter
from typing import Any

from shared.clock import ManualClock
from shared.jobqueue.constants import MAX_GATES, MAX_HEAD
from shared.store.memory import MemoryStore
from tests.model import outbox_invariants
from tests.model.call import VERB_OF, Call
from tests.model.content import Content, content_of, put_back
from tests.model.invariants import follow, hold, relax, started
from tests.model.state import UNMODELLED, Model, View
from tests.model.verbs import MODELLED


class Violation(AssertionError):
    """The store did something that the model does not allow."""


class JudgedStore:
    """Compares every EVAL with the model at once."""

    def __init__(self, model: Model, clock: ManualClock) -> None:
        self._inner = MemoryStore()
        self._clock = clock
        self._prefix = model.deployment.settings.prefix + ":"
        self.model = model
        self.previous = View()  # the store after the last call
        self.sent: list[tuple[tuple[str, ...], Any]] = []  # EVALs and their replies
        self.starts: dict[tuple[int, str, int], str] = {}  # the caller that submits an attempt
        self.loses_answers = False
        self.epoch = 0
        self.lives: Counter[str] = Counter()  # how often a job's key was evicted
        self.failure: BaseException | None = None

    async def execute(self, *command: str) -> Any:
        """Executes and judges. A failure is kept as well as raised: production code survives one job's trouble."""
        await asyncio.sleep(0)  # a network call: others may come in between
        try:
            if command[0] != "EVAL":
                return await self._inner.execute(*command)
            reply = await self._evaluate(command)
            return await self.again() if self.loses_answers else reply
        except BaseException as error:
            self.failure = self.failure or error
            raise

    async def _evaluate(self, command: tuple[str, ...]) -> Any:
        text, deployment = command[1], self.model.deployment
        for name, number, smaller in (
            ("MAX_GATES", MAX_GATES, deployment.most_gates), ("MAX_HEAD", MAX_HEAD, deployment.most_rows)
        ):  # fmt: skip
            defined = f"local {name} = {number}\n"
            assert (defined in text) == (name in text)
            text = text.replace(defined, f"local {name} = {smaller}\n")
        reply = await self._inner.execute("EVAL", text, *command[2:])
        self.sent.append((command, reply))
        await self._judge(Call.of(command), reply)
        return reply

    async def again(self) -> Any:
        """Repeats the last EVAL: it changes nothing, and its reply says again what matters."""
        (command, first), before, verb = self.sent[-1], self.previous, VERB_OF[self.sent[-1][0][1]]
        reply = await self._evaluate(command)
        # A claim that started nothing left no trace, so a repeat is a new claim; each claim of the outbox is new too.
        if verb != "outbox_claim" and not claims_anew(Call.of(command), first):
            assert self.previous == before, f"a repeated {verb} changed something"
            assert same_news(verb, without_follow(verb, first), reply), f"a repeated {verb}: {reply} after {first}"
        return reply

    async def close(self) -> None:
        await self._inner.close()

    def submission(self, job: str, attempt: int) -> tuple[int, str, int]:
        """The identity of an attempt, also after its number was handed out again."""
        return self.epoch, f"{job}/{self.lives[job]}", attempt

    async def raw(self, *command: str) -> Any:
        return await self._inner.execute(*command)

    async def _judge(self, call: Call, reply: Any) -> None:
        before, unset = self.previous, set(self.model.relaxed.unset)
        expected = MODELLED[call.verb](self.model, call, reply)
        view = View.of(self.content(), self._prefix)
        if bare(reply) != bare(expected):
            raise Violation(f"{call} answered {reply}, the model says {expected}")
        names = self._count_starts(call, reply)
        begun = [name for name in names if before.jobs.get(name) != view.jobs[name]]
        started(begun, before, view, self.model.deployment, self._clock.true_now)
        self.inspect(view)
        follow(call.verb, before, view, self.model.deployment, unset)
        outbox_invariants.follow(call.verb, before, view)
        self.previous = view

    def _count_starts(self, call: Call, reply: Any) -> list[str]:
        """Each attempt is handed to one caller only. A token identifies a caller."""
        if call.verb == "enqueue" and reply[0] == "started":
            begun = [(call["id"], 1)]
        else:
            begun = [(row[0], int(row[1])) for row in started_by(call, reply)]
        for name, attempt in begun:
            assert self.starts.setdefault(self.submission(name, attempt), call["token"]) == call["token"], (
                f"attempt {attempt} of {name} was handed out twice"
            )
        return [name for name, _ in begun]

    def inspect(self, view: View) -> None:
        """Compares the store with the model, and with the invariants."""
        compare(view, self.model)
        relax(self.model)
        outbox_invariants.relax(self.model)
        hold(view, self.model, self._clock.true_now)
        outbox_invariants.hold(view, self.model.relaxed.orphans)

    def look_again(self) -> None:
        """Compares after a fault, which moves no job itself."""
        self.previous = view = View.of(self.content(), self._prefix)
        self.inspect(view)

    def content(self) -> Content:
        return content_of(self._inner)

    async def put_back(self, content: Content) -> None:
        """Fails over to this content: attempts that were handed out since are handed out again."""
        await put_back(self._inner, content)
        self.epoch += 1


def bare(reply: Any) -> Any:
    """The reply without empty words at its end, which mean the same as their absence."""
    while isinstance(reply, list) and reply and reply[-1] == "":
        reply = reply[:-1]
    return reply


def compare(view: View, model: Model) -> None:
    """The store holds what the model says."""
    assert view.index == model.index, difference(view.index, model.index)
    assert set(view.jobs) == set(model.jobs), set(view.jobs) ^ set(model.jobs)
    for name, job in model.jobs.items():
        held = {part: value for part, value in view.jobs[name].items() if part not in UNMODELLED}
        expected = {part: str(value) for part, value in job.items() if part not in UNMODELLED}
        assert held == expected, (name, difference(held, expected))
    assert view.sets == {user: members for user, members in model.sets.items() if members}
    assert view.runs == {name: {part: str(v) for part, v in runs.items()} for name, runs in model.runs.items()}
    assert view.refusals == model.refusals
    assert view.owners == model.owners
    assert view.counters == {name: str(count) for name, count in model.counters.items()}
    assert view.dead == model.dead
    assert view.outbox == model.outbox, difference(view.outbox, model.outbox)
    assert view.lanes == {lane: rows for lane, rows in model.lanes.items() if rows}
    hosts = {lane: {part: str(v) for part, v in host.items()} for lane, host in model.hosts.items() if host}
    assert view.hosts == hosts, difference(view.hosts, hosts)
    spent = {month: of_month.fields() for month, of_month in model.spending.items() if of_month.spent}
    assert view.spending == spent, difference(view.spending, spent)
    assert view.held == {owner: held for owner, held in model.held.items() if held}
    assert view.undelivered == model.undelivered
    assert view.lost == model.lost, difference(view.lost, model.lost)


def difference(held: dict[str, Any], expected: dict[str, Any]) -> str:
    names = {name for name in {*held, *expected} if held.get(name) != expected.get(name)}
    return ", ".join(f"{name}: {held.get(name)} and not {expected.get(name)}" for name in sorted(names))


FOLLOW_AT = {
    "cancel": 1,
    "record": 2,
    "adopt": 2,
    "fail": 2,
    "snooze": 2,
    "rescue": 2,
    "expire": 2,
    "finish": 4,
    "outbox_keep": 1,
}
WITH_FOLLOW = ("canceled", "recorded", "adopted", "finished", "kept")


def started_by(call: Call, reply: Any) -> list[Any]:
    """The jobs that a claim has started, or an end in the same call."""
    match call.verb:
        case "claim":
            return list(reply[0])
        case "finish" if reply[0] in ("finished", "already") and reply[-1]:
            return list(reply[-1][0])
        case _:
            return []


def claims_anew(call: Call, reply: Any) -> bool:
    """Whether a repeat of the call is a new claim, since the first one has started nothing."""
    may_claim = call.verb == "claim" or (call.verb == "finish" and call["want"] != "" and len(reply) > 1)
    return may_claim and not started_by(call, reply)


def without_follow(verb: str, reply: Any) -> Any:
    """The reply without the follow-ups for its caller: a caller that misses them loses only time."""
    if verb in FOLLOW_AT and reply[0] in WITH_FOLLOW:
        return [part for n, part in enumerate(reply) if n != FOLLOW_AT[verb]]
    return reply


def same_start(first: Any, again: Any) -> bool:
    """Whether a repeat has the same jobs for its caller."""
    return bool(sorted(first[0]) == sorted(again[0])) if first else not again


def same_news(verb: str, first: Any, again: Any) -> bool:
    """Whether a repeat returns what the lost answer would have returned."""
    said_once = {
        "check": ["wait"],  # one caller asks; a lost answer costs patience
        "trip": ["stale"],
        "outbox_note": ["stale"],
    }
    match verb:
        case "claim":
            return sorted(first[0]) == sorted(again[0])
        case "enqueue" if first[0] == "backlog":
            return bool(again[0] == "queued")  # said of all that wait
        case "enqueue" | "rehome":
            return bool(first[0] == again[0])  # the position, or how many came back, is said once
        case "finish" if first[0] == "finished":
            return bool(again[:4] == ["already", *first[1:4]] and same_start(first[-1], again[-1]))
        case "delete" if first[0] == "deleted":
            return bool(again == ["not_found"])
        case _:
            return bool(bare(without_follow(verb, again)) == said_once.get(verb, bare(first)))
