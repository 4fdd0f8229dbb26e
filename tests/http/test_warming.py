"""What Lambda makes while it starts a function, and what a restored one has of its own."""

import importlib
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from shared.application import create_handler
from shared.clock import ManualClock
from shared.jobqueue.script import VERBS, script
from shared.warming import TYPE, Needs, _make
from tests.config.production import GOOD
from tests.project import ROOT
from tests.world import make_world

SECONDS = 60  # of a start; it has its own deadline, which is shorter
# Prints what a start has made: runtimes, assembled scripts and loaded clients.
MADE = """
import importlib, json, os, sys
module = importlib.import_module(os.environ["FUNCTION"])
{more}
from shared import runtime
from shared.jobqueue.script import script
clients = [name for name in ("httpx", "httpcore", "upstash_redis") if name in sys.modules]
print(json.dumps([len(runtime._of_loop), script.cache_info().currsize, clients]))
"""


@contextmanager
def silent_server() -> Iterator[tuple[str, socket.socket]]:
    """Yields the URL of a store that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


def started(function: str, folder: Path, more: str = "", **variables: str) -> list[Any]:
    given = {"PATH": os.defpath, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "FUNCTION": f"functions.{function}"}
    ran = subprocess.run(
        [sys.executable, "-c", MADE.format(more=more)],
        env={**given, **GOOD, **variables}, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "not_warmed" not in ran.stdout, ran.stdout
    made: list[Any] = json.loads(ran.stdout.splitlines()[-1])
    return made


def test_only_a_start_on_lambda_is_warmed(tmp_path: Path) -> None:
    assert started("submit", tmp_path) == [0, 0, []]
    runtimes, scripts, clients = started("submit", tmp_path, AWS_LAMBDA_FUNCTION_NAME="submit")
    assert (runtimes, scripts, clients) == (1, 2, ["httpx", "httpcore", "upstash_redis"])


async def test_each_function_finds_what_it_needs(tmp_path: Path) -> None:
    """The composed function warms what all functions need."""
    modules = importlib.import_module("functions.all_routes").FUNCTIONS
    verbs = {verb for module in modules for verb in module.NEEDS.verbs}
    runtimes, scripts, clients = started("all_routes", tmp_path, AWS_LAMBDA_FUNCTION_NAME="x")
    assert (runtimes, scripts, clients) == (1, len(verbs), ["httpx", "httpcore", "upstash_redis"])


async def test_a_warmed_script_is_the_one_that_the_queue_sends(clock: ManualClock) -> None:
    async with make_world(None, clock) as world:
        script.cache_clear()
        await _make(Needs((), ("stats",)))
        loaded = script.cache_info().misses
        await world.runtime.records.stats()
        assert script.cache_info().misses == loaded == 1


@pytest.mark.parametrize("function", ["submit", "all_routes", "index"])
def test_a_start_ends_once(tmp_path: Path, function: str) -> None:
    """The collector is off until all is imported; a composed function warms and registers as one function does."""
    (tmp_path / "snapshot_restore_py.py").write_text(SNAPSHOT_PACKAGE)
    (tmp_path / "sitecustomize.py").write_text(COUNTED)
    variables = {"AWS_LAMBDA_FUNCTION_NAME": "x", TYPE: "snap-start"}
    is_handler = function != "index"  # which Lambda does not call
    started(function, tmp_path, ONCE, EXPECTED=str(2 * is_handler), **variables)


def test_a_start_whose_store_cannot_be_reached_goes_on(tmp_path: Path) -> None:
    with silent_server() as (url, listener):
        listener.close()
        assert started("health", tmp_path, AWS_LAMBDA_FUNCTION_NAME="x", UPSTASH_REDIS_REST_URL=url)[0] == 1


def lambdas(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Puts a package like that of Lambda's runtime in its place; returns the hooks that it is given, by kind."""
    hooks: dict[str, list[Any]] = {"register_before_snapshot": [], "register_after_restore": []}
    package = ModuleType("snapshot_restore_py")
    for name, given in hooks.items():
        monkeypatch.setattr(package, name, given.append, raising=False)
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", package)
    return hooks


async def test_what_is_restored_from_one_snapshot_has_its_own_random_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hooks = lambdas(monkeypatch)
    create_handler(importlib.import_module("functions.health").app)
    snapshot, seen = random.getstate(), set()
    for _ in range(3):
        random.setstate(snapshot)
        for hook in hooks["register_after_restore"]:
            hook()
        seen.add(random.random())
    assert len(seen) == 3


COUNTED = """
import gc
freeze, frozen = gc.freeze, []
gc.freeze = lambda: frozen.append(gc.isenabled()) or freeze()
"""
ONCE = """
import gc, snapshot_restore_py, sitecustomize
assert gc.isenabled() and sitecustomize.frozen == [False], sitecustomize.frozen
hooks = int(os.environ["EXPECTED"])
assert [len(snapshot_restore_py.before), len(snapshot_restore_py.after)] == [hooks // 2, hooks]
"""
SNAPSHOT_PACKAGE = """
before, after = [], []
register_before_snapshot, register_after_restore = before.append, after.append
"""
HOOKS = """
import snapshot_restore_py
from shared import runtime
assert len(runtime._of_loop) == 0
for hook in snapshot_restore_py.before: hook()
assert len(runtime._of_loop) == 1
if os.environ.get("RESTORED"):
    for hook in snapshot_restore_py.after: hook()
"""


def test_a_snapshot_has_all_scripts_and_no_connection_and_what_is_restored_has_its_own_runtime(tmp_path: Path) -> None:
    (tmp_path / "snapshot_restore_py.py").write_text(SNAPSHOT_PACKAGE)
    with silent_server() as (url, listener):
        variables = {"AWS_LAMBDA_FUNCTION_NAME": "x", TYPE: "snap-start", "UPSTASH_REDIS_REST_URL": url}
        runtimes, scripts, _ = started("webhook", tmp_path, HOOKS, **variables)
        assert (runtimes, scripts) == (1, len(VERBS))
        runtimes, scripts, _ = started("webhook", tmp_path, HOOKS, RESTORED="1", **variables)
        assert (runtimes, scripts) == (0, len(VERBS))
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
