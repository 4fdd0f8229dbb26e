"""Each script's header agrees with its body and its callers; unexpected keys stop it unwritten."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from local.rest_server.running import RunningServer
from shared.alerts import alert_store
from shared.doctor import examiner
from shared.errors import StoreScriptError
from shared.jobqueue import FollowUp, JobFilter, PageStart, Tried, constants, keys
from shared.jobqueue.answers import FORMS, ROWS, reply_to
from shared.jobqueue.header import Form, Part
from shared.jobqueue.history import MAX_MOMENT
from shared.jobqueue.kinds import Value
from shared.jobqueue.lua import statements, with_names_replaced, without_comments, without_indentation
from shared.jobqueue.replies import Reply
from shared.jobqueue.script import FOLDER, LIBRARIES, VERBS, Script, script
from shared.jobqueue.scripted import Scripted
from shared.jobs.issued_keys import NewKey
from shared.statistics import folding
from shared.verification import codes
from tests.lua.bytecode import globals_of
from tests.world import World

# Verification codes, statistics, the doctor and alerts have scripts of their own.
OTHERS: tuple[tuple[Path, tuple[str, ...], tuple[str, ...]], ...] = (
    (codes.FOLDER, codes.VERBS, codes.LIBRARIES),
    (folding.FOLDER, folding.VERBS, ()),
    (examiner.FOLDER, examiner.VERBS, examiner.LIBRARIES),
    (alert_store.FOLDER, alert_store.VERBS, ()),
)
FOLDERS = dict.fromkeys((*VERBS, *LIBRARIES), FOLDER)
FOLDERS |= {name: folder for folder, verbs, libraries in OTHERS for name in (*verbs, *libraries)}
ALL_VERBS = (*VERBS, *(verb for _, verbs, _ in OTHERS for verb in verbs))
ALL_LIBRARIES = (*LIBRARIES, *(library for _, _, libraries in OTHERS for library in libraries))
ALL_FORMS = {**FORMS, **codes.FORMS, **folding.FORMS, **examiner.FORMS, **alert_store.FORMS}


def body(verb: str) -> str:
    return (FOLDERS[verb] / f"{verb}.lua").read_text()


def called(verb: str) -> Script:
    return script(verb, FOLDERS[verb])


def test_every_script_file_is_a_verb_and_every_verb_has_one() -> None:
    assert {path.stem for path in FOLDER.glob("*.lua")} == {*VERBS, *LIBRARIES}
    for folder, verbs, libraries in OTHERS:
        assert {path.stem for path in folder.glob("*.lua")} == {*verbs, *libraries}


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_a_script_uses_all_that_its_header_names_and_nothing_by_number(verb: str) -> None:
    parsed = called(verb)
    keys = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", parsed.text)}
    arguments = {int(number) for number in re.findall(r"(?:ARGV\[|arguments_from\()(\d+)", parsed.text)}
    assert keys == set(range(1, len(parsed.keys) + 1))
    assert arguments == set(range(1, len(parsed.arguments) + 1))
    assert not re.search(r"KEYS|ARGV", without_comments(body(verb)))


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_a_header_names_every_word_the_script_returns(verb: str) -> None:
    words = set(re.findall(r"\breturn \{ ?'([a-z_]+)'", without_comments(body(verb))))
    assert words <= set(called(verb).returns)


KINDS_OF_PARTS: dict[str, object] = {
    "name": str, "text": str, "provider": str, "count": int, "moment": int, "number": int,
    "seconds": float, "flag": bool, "names": tuple[str, ...], "names...": tuple[str, ...],
    "values": tuple[str | None, ...],
    "numbers": tuple[int, ...], "pairs": dict[str, str], "counts": dict[str, int],
}  # fmt: skip


def kind_of(part: Part) -> object:
    """The type that a reply's class must give to what a header declares."""
    if part.kind in ("rows", "row"):
        row: Any = ROWS[part.name]
        return tuple[row, ...] if part.kind == "rows" else row | None
    kind: Any = KINDS_OF_PARTS[part.kind]
    return kind | None if part.is_optional else kind


def types_in(hint: Any) -> list[object]:
    """The hint and what it is a union of; some texts are the type of a text."""
    parts = get_args(hint)
    if get_origin(hint) is Literal:
        return [type(part) for part in parts]
    return [hint, *parts, *(found for part in parts if get_origin(part) is Literal for found in types_in(part))]


def compare(form: Form, kind: type[Reply]) -> None:
    """Each part is a field of the class with its type, and each field without a default is a part."""
    hints = get_type_hints(kind)
    for part in form.parts:
        assert kind_of(part) in types_in(hints[part.name]), f"{kind.__name__}.{part.name}"
    known = {part.name for part in form.parts} | ({"word"} if len(kind.words) > 1 else set())
    needed = {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}
    assert needed <= known <= {field.name for field in fields(kind)}


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_a_header_and_the_classes_of_its_replies_say_the_same(verb: str) -> None:
    parsed = called(verb)
    for word, form in parsed.returns.items():
        (kind,) = [kind for kind in ALL_FORMS[verb] if word in (kind.words or ("",))]
        compare(form, kind)
    for name, form in parsed.rows.items():
        compare(form, ROWS[name])
    forms = (*parsed.returns.values(), *parsed.rows.values())
    rows = {part.name for form in forms for part in form.parts if part.kind in ("rows", "row")}
    assert rows == set(parsed.rows)


@pytest.mark.parametrize(
    "kind", {kind for kinds in ALL_FORMS.values() for kind in kinds}, ids=lambda kind: kind.__name__
)
def test_every_word_of_a_reply_is_returned_by_some_verb(kind: type[Reply]) -> None:
    returned = {word for verb, kinds in ALL_FORMS.items() if kind in kinds for word in called(verb).returns}
    assert set(kind.words) <= returned
    if hints := get_args(get_type_hints(kind).get("word")):
        assert set(kind.words) <= set(hints)


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("finish", ["gone"]), ("finish", ["finished", "completed"]), ("finish", []), ("finish", None),
        ("record", ["recorded", "1", "", "more"]), ("cancel", ["cancel_requested", "one", "p", "0"]),
        ("claim", [[["j"]], [], "0", [], "0", "0"]), ("limit", ["=s"]), ("trim", "many"),
    ],
)  # fmt: skip
def test_an_answer_in_a_form_that_no_header_names_is_an_error_of_the_script(verb: str, answer: object) -> None:
    with pytest.raises(StoreScriptError):
        reply_to(script(verb), answer)


# The globals of Redis that the scripts use
GIVEN = {
    "KEYS",
    "ARGV",
    "redis",
    "string",
    "table",
    "math",
    "ipairs",
    "pairs",
    "pcall",
    "select",
    "tonumber",
    "type",
    "unpack",
}


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_what_is_sent_has_all_that_it_uses_and_sets_no_global(verb: str) -> None:
    """Checked by Lua's compiler. fakeredis refuses every later script once one has assigned a global."""
    found = globals_of(called(verb).text)
    assert found.read <= GIVEN
    assert found.written == set()


def test_no_script_writes_a_letter_of_a_key() -> None:
    letters = {value.rstrip(":") for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)}
    assert {"j", "m", "st", "x"} <= letters
    for name in FOLDERS:
        found = re.findall(r"['\"]([a-z]{1,2}):?['\"]", without_comments(body(name)))
        assert not letters & set(found), name


NUMBERS = re.findall(r"^([A-Z_]+) = ", Path(constants.__file__).read_text(), re.M)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_shared_number_is_used_by_a_script_and_written_in_none(name: str) -> None:
    sources = [without_comments(body(one)) for one in FOLDERS]
    assert any(re.search(rf"\b{name}\b", source) for source in sources)
    assert not any(re.search(rf"local (\w+, )*{name}[ ,=]", source) for source in sources)


def test_a_library_holds_nothing_that_no_verb_uses() -> None:
    sent = [re.sub(r"(KEYS|ARGV)\[\d+\]", "named", called(verb).text) for verb in ALL_VERBS]
    for library in ALL_LIBRARIES:
        for statement in statements(without_comments(body(library))):
            text = with_names_replaced(without_indentation(statement.text), lambda _table, _name: "named")
            assert any(text in whole for whole in sent), text


OF_BATCH = {"expected": "1", "policy": "best_effort", "queue": "video", "metadata": "{}"}


async def test_every_verb_is_called_with_what_its_header_names(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, controls, sent = world.runtime.queue, world.runtime.controls, set[str]()
    run = Scripted._run

    async def noted(self: Scripted, verb: str, kind: type[Reply], /, **given: Value) -> Reply:
        reply = await run(self, verb, kind, **given)
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
    await queue.adopt(job, 1, {"p": "alike"})
    await queue.rehome(queue.keys.user("app", "ada"), [job])
    await queue.finish(job, 1, "p", "completed", {})
    await queue.expire(job)
    await queue.trip(job, 1)
    await controls.set_gates({"=s": 1})
    await controls.limit_user("app", "ada", 1)
    await controls.reprioritize(job, "app", 5)
    await world.runtime.keys.issued.create(NewKey(owner="app"))
    await world.runtime.records.explain(job)
    await world.runtime.records.stats()
    await world.runtime.records.health()
    outbox = world.runtime.outbox
    await outbox.restore(lane="app:none")
    await outbox.release([FollowUp("store", job), FollowUp("tell", job, "canceled")])
    await outbox.claim(1, 1, 1)
    await outbox.keep(job, 1, "[]")
    await outbox.note(FollowUp("tell", job, "canceled"), "app:lane", "tag", 0, Tried("retry", 1, "{}"))
    await outbox.redeliver(job, "canceled", "app")
    await outbox.undelivered(PageStart(1, ""))
    history = world.runtime.history
    await history.jobs("app")
    await history.letters()
    await world.runtime.overview.jobs(JobFilter("app", "ada", "video", "", "replicate", "", "live", 0, MAX_MOMENT))
    await controls.limit_user("app", "ada", 1)
    await world.runtime.overview.user_limits("0")
    await history.note_redriven(job, "new")
    await history.delete(job, "app")
    await history.trim()
    await history.erase("app", "ada", "0" * 32, 60)
    await history.forget_gone("app", "ada", [job])
    await world.runtime.records.forget_runs(["0:acme/video"])
    await world.raw("HSET", queue.keys.spending("202611"), "=gone", "settled")
    await world.runtime.spending.reclaim("202611")
    batches, common = (
        world.runtime.batch_queue,
        {"owner": "app", "user": "ada", "created_at": str(world.clock.now()), "lane": "0", "share": "1"},
    )
    await batches.create("bat_1", "f", OF_BATCH | common, common | {"expire_at": common["created_at"]}, [(1, {})], "")
    await batches.read("bat_1")
    await batches.retry("bat_1", "app", "ada", canceled_too=True, cost="")
    await batches.cancel("bat_1", "app")
    assert sent == set(VERBS)


WRITING = ("enqueue", "claim", "record", "finish", "fail", "snooze", "cancel", "rescue", "check", "delete")
OUTBOX = ("outbox_claim", "outbox_keep", "outbox_note", "outbox_redeliver", "outbox_release")


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
    before, event = dump(server), FollowUp("tell", job, "completed")
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
        "outbox_note": lambda: outbox.note(event, "app:lane", "tag", 0, Tried("failed", 1, "{}", pause=1)),
        "outbox_release": lambda: outbox.release([FollowUp("store", job), event]),
        "outbox_redeliver": lambda: outbox.redeliver(job, "completed", "app"),
    }
    with pytest.raises(StoreScriptError):
        await calls[verb]()
    assert dump(server) == before


def dump(server: RunningServer) -> dict[bytes, object]:
    """All keys and values of the store, as the engine serialises them."""
    keys = server.ask("KEYS", "*")
    assert isinstance(keys, list)
    return {key: server.ask("DUMP", key) for key in keys if isinstance(key, bytes)}
