"""The scripts stay inside what stock Redis' Lua and gopher-lua agree on, and both checks of that can fail."""

import json
import os
import re
import subprocess
import sys
import textwrap

import pytest

from tests.lua.__main__ import FILES
from tests.lua.portable import faults_in, faults_of
from tests.project import ROOT


def test_the_scripts_are_portable_as_far_as_their_text_shows() -> None:
    assert faults_of(FILES) == []


@pytest.mark.parametrize(
    "line",
    [
        "return string.format('%q', text)",
        "return string.format('%d', number)",
        "return string.format(form, number)",
        "local shown = tostring(number)",
        "local limit = tonumber('1e6')",
        "local none = tonumber('-inf')",
        "local sum = '010' + 0",
        "local sum = number * '2'",
        'local sum = 1 - "2"',
    ],
)
def test_a_script_that_is_not_portable_is_found(line: str) -> None:
    found = faults_in(f"local a = 1\n{line}")
    assert found and all(fault.startswith("2: ") for fault in found)


@pytest.mark.parametrize(
    "line",
    [
        "return string.format('%.0f', number) -- never %q or tostring(number)",
        "redis.call('ZCOUNT', key.index, '-inf', '(0')",
        "local name = 'a-b' .. '1 + 2'",
        "local most = 3e6",
    ],
)
def test_what_is_portable_is_not_found(line: str) -> None:
    assert faults_in(line) == []


# Each is refused by the interpreter of strict.py; two interpreters in one process crash it, so all run in another one.
REFUSED = {
    "arithmetic on text": "return '010' + 0",
    "arithmetic on a field": "return redis.call('INCR', 'n') + ARGV[1]",
    "a negative text": "return -ARGV[1]",
    "an exponent without a dot": "return tonumber('1' .. 'e6')",
    "a number that is infinite": "return tonumber('inf')",
    "a format of text": "return string.format('%.0f', ARGV[1])",
    "another format": "return string.format('%d', 1)",
    "too many values": "local list = {} for i = 1, 4001 do list[i] = '1' end return #{ unpack(list) }",
}
ALLOWED = {
    "numbers as text": "return tonumber(ARGV[1]) + 1",
    "an exponent with a dot": "return tonumber('1.5e3')",
    "text that is no number": "return tonumber('x') == nil and 1",
    "a format of a number": "return string.format('%.0f', 12)",
    "many values": "local list = {} for i = 1, 4000 do list[i] = '1' end return #{ unpack(list) }",
}
PROGRAM = """
from tests.lua import strict

strict.install()
from shared.errors import StoreScriptError
from shared.store.memory import MemoryStore
import asyncio, json, sys

async def main():
    store, answers = MemoryStore(), {}
    for name, script in json.load(sys.stdin).items():
        try:
            answers[name] = await store.execute("EVAL", script, "0", "010")
        except StoreScriptError as error:
            answers[name] = error.text
    walk = "local s = '' for k in pairs({a=1, b=2, c=3, d=4}) do s = s .. k end return s"
    orders = {await store.execute("EVAL", walk, "0") for _ in range(50)}
    json.dump([answers, len(orders)], sys.stdout)

asyncio.run(main())
"""


def run(*command: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, input=given, env=environment, capture_output=True, text=True, check=False
    )


def test_the_strict_interpreter_refuses_what_is_read_differently_and_nothing_else() -> None:
    done = run("-c", textwrap.dedent(PROGRAM), given=json.dumps(REFUSED | ALLOWED))
    assert done.returncode == 0, done.stderr
    answers, orders = json.loads(done.stdout)
    assert {name for name, answer in answers.items() if "not portable" in str(answer)} == set(REFUSED)
    assert {name: answers[name] for name in ALLOWED} == {
        "numbers as text": 11,
        "an exponent with a dot": 1500,
        "text that is no number": 1,
        "a format of a number": "12",
        "many values": 4000,
    }
    assert orders > 10


STRICTLY = ("-m", "pytest", "-p", "tests.lua.strict", "-q", "-p", "no:cacheprovider")


def test_each_verb_runs_on_the_strict_interpreter() -> None:
    done = run(*STRICTLY, "tests/faults/test_stops.py::test_every_verb_that_writes_twice_is_stopped")
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_all_that_is_tested_of_the_queue_runs_on_the_strict_interpreter() -> None:
    done = run(*STRICTLY, "tests/queue", "-k", "memory")
    assert "not portable" not in done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 200, done.stdout[-3000:]
