"""The loader reads a script's header and libraries, and refuses a wrong call before it is sent."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from shared.clock import ManualClock
from shared.jobqueue.header import InvalidHeader
from shared.jobqueue.kinds import KINDS, Argument, Value
from shared.jobqueue.replies import Done
from shared.jobqueue.script import FOLDER, LIBRARIES, UnknownName, script
from shared.jobqueue.scripted import Scripted
from shared.store.memory import MemoryStore
from tests.world import settings_for


@pytest.fixture(autouse=True)
def loaded_anew() -> Iterator[None]:
    """Loads the scripts again: a test may have loaded another folder."""
    yield
    script.cache_clear()


def write_script(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Puts a script of one verb, `odd`, where the loader looks; the libraries stay the same."""
    for name in LIBRARIES:
        (folder / f"{name}.lua").write_text((FOLDER / f"{name}.lua").read_text())
    (folder / "odd.lua").write_text("\n".join(("-- odd: does nothing.", *lines)))
    monkeypatch.setattr("shared.jobqueue.script.FOLDER", folder)
    script.cache_clear()


@pytest.mark.parametrize("name", ["arg.later", "key.job", "rest.now", "arg.index"])
def test_a_script_that_uses_what_its_header_does_not_name_is_not_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = ("-- KEYS: index", "-- ARGV: now: moment, ids: names...", "-- Returns: {done}")
    write_script(tmp_path, monkeypatch, *head, "local index, now, ids = key.index, arg.now, rest.ids")
    assert "local index, now, ids = KEYS[1], ARGV[1], arguments_from(2)" in script("odd").text
    write_script(tmp_path, monkeypatch, *head, f"return {name}")
    with pytest.raises(UnknownName, match=re.escape(name)):
        script("odd")


def test_names_in_strings_and_comments_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = ("-- KEYS: index", "-- ARGV: now: moment", "-- Returns: {done}")
    line = "return 'arg.later -- no comment', \"it's key.job\", f.arg.now, arg.now -- arg.later"
    write_script(tmp_path, monkeypatch, *head, line)
    assert script("odd").text.endswith("return 'arg.later -- no comment', \"it's key.job\", f.arg.now, ARGV[1]\n")


def test_only_what_a_script_uses_is_sent_in_the_librarys_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_script(tmp_path, monkeypatch, "-- Returns: {done}", "return {'unused', f.other, first(1)}")
    (tmp_path / "prelude.lua").write_text(
        "-- What first uses\nlocal ONE, TWO = 1, 2 -- numbers\n\nlocal later\n\n"
        "local function unused(n) return n end\n\nlocal other = {\n  1,\n}\n\n"
        "local function first(n)\n  if n > ONE then\n    return later(n)\n  end\nend\n\n"
        "later = function(n) return n end\n"
    )
    assert script("odd").text == (
        "local ONE, TWO = 1, 2\nlocal later\nlocal function first(n)\nif n > ONE then\nreturn later(n)\nend\nend\n"
        "later = function(n) return n end\nreturn {'unused', f.other, first(1)}\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "-- ARGV: now", "-- ARGV: now: hours", "-- ARGV: now: moment, now: moment",
        "-- ARGV: ids: names..., now: moment", "-- Returns:", "-- Returns: done",
        "-- Returns: {done} | {count: count}", "-- Returns: {done} | {done}",
        "-- Returns: {done, count}",
    ],
)  # fmt: skip
def test_a_header_of_another_form_is_refused(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    returns = () if "Returns" in line else ("-- Returns: {done}",)
    write_script(tmp_path, monkeypatch, "-- KEYS: index", line, *returns, "return 1")
    with pytest.raises(InvalidHeader):
        script("odd")


GOOD: dict[str, list[Value]] = {
    "name": ["job_1"], "text": [""], "json": ["{}", "[]"], "flag": [True], "count": [0, 7],
    "moment": [1_800_000_000_000], "number": [-1, 0], "fraction": [0.5], "milliseconds": [timedelta(seconds=1)],
    "seconds": [timedelta(days=1)], "numbers": [[1, 2]], "names...": [["a"], ()], "pairs...": [{"a": "1", "b": None}],
}  # fmt: skip
# Kinds that share values: only tests show which argument is which.
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
        {"job": None}, {"job": "p:u:app:ada"}, {"attempt": "1"}, {"attempt": True},
        {"prediction": 1}, {"progress": -0.5}, {"percent": 1},
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
    right["incarnation"] = ""
    with pytest.raises(AssertionError, match="was sent"):
        await scripted._run("progress", Done, **right)
    for given in (right | changed, {name: value for name, value in right.items() if name not in changed}):
        if given != right:
            with pytest.raises(TypeError):
                await scripted._run("progress", Done, **given)
