"""The scripts' headers against their bodies and callers, and what a script does to keys it did not expect."""

import re
from collections.abc import Awaitable, Callable

import pytest

from local.rest_server.running import RunningServer
from shared.errors import StoreScriptError
from shared.jobqueue import FollowUp, Tried
from shared.jobqueue.kinds import Value
from shared.jobqueue.lua import statements, with_names_replaced, without_comments, without_indentation
from shared.jobqueue.script import FOLDER, LIBRARIES, VERBS, script
from shared.jobqueue.scripted import Scripted
from tests.lua.bytecode import globals_of
from tests.world import World

RETURNS = re.compile(r"\{([a-z_]+)[,}]")


def body(verb: str) -> str:
    return (FOLDER / f"{verb}.lua").read_text()


def test_every_script_file_is_a_verb_and_every_verb_has_one() -> None:
    assert {path.stem for path in FOLDER.glob("*.lua")} == {*VERBS, *LIBRARIES}


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_uses_all_that_its_header_names_and_nothing_by_number(verb: str) -> None:
    parsed = script(verb)
    keys = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", parsed.text)}
    arguments = {int(number) for number in re.findall(r"(?:ARGV\[|arguments_from\()(\d+)", parsed.text)}
    assert keys == set(range(1, len(parsed.keys) + 1))
    assert arguments == set(range(1, len(parsed.arguments) + 1))
    assert not re.search(r"KEYS|ARGV", without_comments(body(verb)))


@pytest.mark.parametrize("verb", VERBS)
def test_a_header_names_every_word_the_script_returns(verb: str) -> None:
    header, code = re.split(r"\n(?!--)", body(verb), maxsplit=1)
    said = set(re.findall(r"return \{ '([a-z_]+)'", code))
    assert said <= set(RETURNS.findall(header))


# What Redis gives to a script, as far as ours want it
GIVEN = {"KEYS", "ARGV", "redis", "string", "table", "math", "ipairs", "pairs", "tonumber", "unpack"}


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_sent_has_all_that_it_uses_and_sets_no_global(verb: str) -> None:
    """By Lua's own compiler. fakeredis, for one, refuses every later script once one has assigned a global."""
    found = globals_of(script(verb).text)
    assert found.read <= GIVEN
    assert found.written == set()


def test_a_library_holds_nothing_that_no_verb_uses() -> None:
    sent = [re.sub(r"(KEYS|ARGV)\[\d+\]", "named", script(verb).text) for verb in VERBS]
    for library in LIBRARIES:
        for statement in statements(without_comments(body(library))):
            text = with_names_replaced(without_indentation(statement.text), lambda _table, _name: "named")
            assert any(text in whole for whole in sent), text


async def test_every_verb_is_called_with_what_its_header_names(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, controls, sent = world.runtime.queue, world.runtime.controls, set[str]()
    run = Scripted._run

    async def noted(self: Scripted, verb: str, /, **given: Value) -> object:
        reply = await run(self, verb, **given)
        sent.add(verb)
        return reply

    monkeypatch.setattr(Scripted, "_run", noted)
    job = await world.enqueue(hook_url="https://example.com/hook")
    await queue.claim(1)
    await queue.record(job, 1, "p")
    await queue.check(job)
    await queue.progress(job, 1, "p", 1)
    await queue.fail(job, 1, "p", code="", detail="", retryable=True)
    await queue.snooze(job, 1, delay=1, code="")
    await queue.rescue(job, 1)
    await queue.cancel(job, "app")
    await queue.adopt(job, 1, ["p"])
    await queue.rehome(queue.keys.user("app", "ada"), [job])
    await queue.finish(job, 1, "p", "completed", {})
    await queue.expire(job)
    await queue.trip(job, 1)
    await controls.set_gates({"=s": 1})
    await controls.limit_user("app", "ada", 1)
    await controls.reprioritize(job, "app", 5)
    await world.runtime.records.explain(job)
    await world.runtime.records.stats()
    outbox = world.runtime.outbox
    await outbox.restore(lane="app:none")
    await outbox.claim(1, 1, 1)
    await outbox.keep(job, 1, "[]")
    await outbox.note(FollowUp("tell", job, "canceled"), "app:lane", "tag", 0, Tried("retry", 1, "{}"))
    await outbox.redeliver(job, "canceled", "app")
    await outbox.undelivered(1)
    history = world.runtime.history
    await history.jobs("app")
    await history.letters()
    await history.note_redriven(job, "new")
    await history.delete(job, "app")
    await history.trim()
    batches, common = (
        world.runtime.batch_queue,
        {"owner": "app", "user": "ada", "created_at": str(world.clock.now()), "lane": "0"},
    )
    await batches.create(
        "bat_1", "f", {"owner": "app", "expected": "1"}, common | {"expire_at": common["created_at"]}, [(1, {})], ""
    )
    await batches.read("bat_1")
    await batches.retry("bat_1", "app", "ada", canceled_too=True, cost="")
    await batches.cancel("bat_1", "app")
    assert sent == set(VERBS)


WRITING = ("enqueue", "claim", "record", "finish", "fail", "snooze", "cancel", "rescue", "check", "delete")
OUTBOX = ("outbox_claim", "outbox_keep", "outbox_note", "outbox_redeliver")


@pytest.mark.parametrize("verb", [*WRITING, *OUTBOX])
async def test_a_key_of_the_wrong_type_stops_a_script_before_it_writes(valkey_world: World, verb: str) -> None:
    """Redis undoes nothing when a script fails, so each must have read all it needs before its first write."""
    world, queue, outbox = valkey_world, valkey_world.runtime.queue, valkey_world.runtime.outbox
    server = world.server
    assert server is not None
    job = await world.enqueue(start=verb != "enqueue")
    if verb in ("finish", "fail", "check", *OUTBOX):
        await queue.record(job, 1, "p")
    if verb in OUTBOX:
        await queue.finish(job, 1, "p", "completed", {"files": "[]"})
    world.manual.advance(10_000)
    target = job if verb != "claim" else await world.enqueue("bob")
    await world.raw("DEL", queue.keys.job(target))
    await world.raw("SET", queue.keys.job(target), "not a hash")
    before, told = dump(server), FollowUp("tell", job, "completed")
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "enqueue": lambda: world.admit(job),
        "claim": lambda: queue.claim(5),
        "record": lambda: queue.record(job, 1, "p"),
        "finish": lambda: queue.finish(job, 1, "p", "completed", {}),
        "fail": lambda: queue.fail(job, 1, "p", code="", detail="", retryable=True),
        "snooze": lambda: queue.snooze(job, 1, delay=1, code=""),
        "cancel": lambda: queue.cancel(job, "app"),
        "rescue": lambda: queue.rescue(job, 1),
        "check": lambda: queue.check(job),
        "delete": lambda: world.runtime.history.delete(job, "app"),
        "outbox_claim": lambda: outbox.claim(1, 1, 1),
        "outbox_keep": lambda: outbox.keep(job, 1, "[]"),
        "outbox_note": lambda: outbox.note(told, "app:lane", "tag", 0, Tried("failed", 1, "{}", pause=1)),
        "outbox_redeliver": lambda: outbox.redeliver(job, "completed", "app"),
    }
    with pytest.raises(StoreScriptError):
        await calls[verb]()
    assert dump(server) == before


def dump(server: RunningServer) -> dict[bytes, object]:
    """Everything in the store, as the engine serialises it."""
    keys = server.ask("KEYS", "*")
    assert isinstance(keys, list)
    return {key: server.ask("DUMP", key) for key in keys if isinstance(key, bytes)}
