"""The scripts' headers against their bodies and callers, and what a script does to keys it did not expect."""

import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.errors import StoreScriptError
from shared.jobqueue import FollowUp, Tried
from shared.jobqueue.header import InvalidHeader
from shared.jobqueue.kinds import KINDS, Argument, Value
from shared.jobqueue.lua import with_names_replaced, without_comments
from shared.jobqueue.script import FOLDER, LIBRARIES, VERBS, UnknownName, script
from shared.jobqueue.scripted import Scripted
from shared.store.memory import MemoryStore
from tests.world import World, settings_for

RETURNS = re.compile(r"\{([a-z_]+)[,}]")


@pytest.fixture(autouse=True)
def loaded_anew() -> Iterator[None]:
    """A test may have had another folder loaded."""
    yield
    script.cache_clear()


def body(verb: str) -> str:
    return (FOLDER / f"{verb}.lua").read_text()


def test_every_script_file_is_a_verb_and_every_verb_has_one() -> None:
    assert {path.stem for path in FOLDER.glob("*.lua")} == {*VERBS, *LIBRARIES}


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_uses_all_that_its_header_names_and_nothing_by_number(verb: str) -> None:
    text, parsed = body(verb), script(verb)
    used: set[tuple[str, str]] = set()

    def noted(table: str, name: str) -> str:
        used.add((table, name))
        return ""

    with_names_replaced(text, noted)
    arguments = {("rest" if argument.kind.is_rest else "arg", argument.name) for argument in parsed.arguments}
    assert used == {("key", name) for name in parsed.keys} | arguments
    assert not re.search(r"KEYS|ARGV", without_comments(text))


def write_script(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Puts a script of one verb, `odd`, where the loader looks; the libraries stay the same."""
    for name in LIBRARIES:
        (folder / f"{name}.lua").write_text((FOLDER / f"{name}.lua").read_text())
    (folder / "odd.lua").write_text("\n".join(lines))
    monkeypatch.setattr("shared.jobqueue.script.FOLDER", folder)
    script.cache_clear()


@pytest.mark.parametrize("name", ["arg.later", "key.job", "rest.now", "arg.index"])
def test_a_script_that_uses_what_its_header_does_not_name_is_not_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = ("-- odd: does nothing.", "-- KEYS: index", "-- ARGV: now: moment, ids: names...")
    write_script(tmp_path, monkeypatch, *head, "local index, now, ids = key.index, arg.now, rest.ids")
    assert "local index, now, ids = KEYS[1], ARGV[1], arguments_from(2)" in script("odd").text
    write_script(tmp_path, monkeypatch, *head, f"return {name}")
    with pytest.raises(UnknownName, match=re.escape(name)):
        script("odd")


def test_names_in_strings_and_comments_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = ("-- odd: does nothing.", "-- KEYS: index", "-- ARGV: now: moment")
    line = "return 'arg.later -- no comment', \"it's key.job\", f.arg.now, arg.now -- arg.later"
    write_script(tmp_path, monkeypatch, *head, line)
    assert script("odd").text.endswith("return 'arg.later -- no comment', \"it's key.job\", f.arg.now, ARGV[1]\n")


@pytest.mark.parametrize(
    "line",
    ["-- ARGV: now", "-- ARGV: now: hours", "-- ARGV: now: moment, now: moment", "-- ARGV: ids: names..., now: moment"],
)
def test_a_header_of_another_form_is_refused(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_script(tmp_path, monkeypatch, "-- odd: does nothing.", "-- KEYS: index", line, "return 1")
    with pytest.raises(InvalidHeader):
        script("odd")


GOOD: dict[str, list[Value]] = {
    "name": ["job_1"], "text": [""], "json": ["{}", "[]"], "flag": [True], "count": [0, 7],
    "moment": [1_800_000_000_000], "number": [-1, 0], "fraction": [0.5], "milliseconds": [timedelta(seconds=1)],
    "seconds": [timedelta(days=1)], "numbers": [[1, 2]], "names...": [["a"], ()], "pairs...": [{"a": "1", "b": None}],
}  # fmt: skip
# Kinds whose values may be of the other kind too: only tests tell their arguments apart.
ALIKE = (
    ("name", "text"), ("name", "json"), ("json", "text"), ("count", "number"), ("moment", "number"),
    ("milliseconds", "seconds"), ("numbers", "names..."),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_its_own_values_and_none_of_another_kind(kind: str) -> None:
    argument, optional = Argument("it", KINDS[kind]), Argument("it", KINDS[kind], is_optional=True)
    for value in GOOD[kind]:
        assert argument.written(value) == optional.written(value)
    assert optional.written(None) == [""]
    others = [other for other in KINDS if other != kind and not any({kind, other} == set(pair) for pair in ALIKE)]
    for value in [None, *(value for other in others for value in GOOD[other])]:
        with pytest.raises(TypeError, match="it takes a "):
            argument.written(value)


@pytest.mark.parametrize(
    "changed",
    [
        {"job": None}, {"job": "p:u:app:ada"}, {"attempt": "1"}, {"attempt": True}, {"prediction": ""},
        {"progress": -1}, {"percent": 1},
    ],
)  # fmt: skip
async def test_a_call_that_is_wrong_in_any_name_or_kind_is_never_sent(
    changed: dict[str, Value], clock: ManualClock
) -> None:
    class Refusing(MemoryStore):
        async def execute(self, *command: str) -> object:
            raise AssertionError("a command was sent")

    scripted = Scripted(Refusing(), settings_for(None), clock)
    right: dict[str, Value] = {"job": scripted.keys.job("1"), "attempt": 1, "prediction": "p", "progress": 1}
    with pytest.raises(AssertionError, match="was sent"):
        await scripted._run("progress", **right)
    for given in (right | changed, {name: value for name, value in right.items() if name not in changed}):
        if given != right:
            with pytest.raises(TypeError):
                await scripted._run("progress", **given)


@pytest.mark.parametrize("verb", VERBS)
def test_a_header_names_every_word_the_script_returns(verb: str) -> None:
    header, code = re.split(r"\n(?!--)", body(verb), maxsplit=1)
    said = set(re.findall(r"return \{'([a-z_]+)'", code))
    assert said <= set(RETURNS.findall(header))


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_sets_no_global(verb: str) -> None:
    """fakeredis, for one, refuses every later script once one has assigned a global."""
    code = script(verb).text
    local = set(re.findall(r"local (?:function )?([\w, ]+)", code))
    names = {name.strip() for names in local for name in names.split(",")}
    names |= {name.strip() for names in re.findall(r"for ([\w, ]+) (?:=|in)", code) for name in names.split(",")}
    outside_tables = re.sub(r"\{[^{}]*\}", "{}", code)
    assigned = set(re.findall(r"^([a-z_]\w*)(?:, \w+)* = ", outside_tables, re.M))
    assert assigned <= names


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
