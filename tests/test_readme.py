"""The README's commands are run, and what it prints is what they print, but for ids, times and counts."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench import fairness
from local.configuration import Configuration
from local.stack import Stack
from shared.providers.wavespeed import WaveSpeedSettings
from shared.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```console\n(.*?)^```", re.M | re.S)


def commands() -> dict[str, str]:
    """Every command in the README's console blocks, and what is printed below it there."""
    found: dict[str, str] = {}
    for block in BLOCK.findall(README):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            found[command] = output
    return found


def pattern(text: str) -> str:
    """Text without what differs from run to run."""
    text = re.sub(r"(job|bat)_[0-9a-f]+", r"\1_*", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "<key>", text)
    text = re.sub(r"\d+(\.\d+)?", "#", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def assert_shows(shown: str, printed: str) -> None:
    """The README's lines are printed, in their order; ``...`` stands for any lines."""
    lines = iter(pattern(line) for line in printed.splitlines())
    for line in filter(None, (pattern(line) for line in shown.splitlines())):
        if line != "...":
            assert line in lines, f"not printed, or not in this order: {line}\n{printed}"


def test_every_command_is_known_to_this_test() -> None:
    known = ("make demo", "make test", "make dev", "curl ")
    assert all(command.startswith(known) for command in commands())
    assert len(commands()) == 8


def test_make_demo_prints_what_the_readme_shows() -> None:
    ended = subprocess.run(["make", "demo"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert_shows(commands()["make demo"], ended.stdout)
    shown = sorted(path.suffix for path in (ROOT / ".sluice/demo/results").iterdir())
    assert shown == [".mp4", ".mp4", ".mp4", ".mp4", ".png"]


def environment() -> dict[str, str]:
    """This machine's environment without the settings of the tests, and without what `make test` was called with."""
    others = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "ARGS"}
    return {
        name: value
        for name, value in os.environ.items()
        if name not in others and name.lower() not in Settings.model_fields
    }


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in commands() and "\nmake test\n" in (ROOT / ".ci/run").read_text()


def test_make_dev_runs_the_stack_that_the_next_test_starts() -> None:
    dry = subprocess.run(["make", "--dry-run", "dev"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-m local.stack" in dry.stdout


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("dev")
    configuration = Configuration(0, 0, 0, tick=1, data_dir=data, log_dir=data / "logs", sealed=True)
    with Stack(configuration) as running:
        yield running


def test_the_announcement_is_what_the_readme_shows(stack: Stack) -> None:
    from local.announcement import announcement

    printed = announcement(stack).replace(str(stack.configuration.data_dir), ".sluice")
    assert_shows(commands()["make dev"], printed)


def test_the_curl_commands_answer_what_the_readme_shows(stack: Stack) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not on PATH (apt install curl)")
    ticked = {"Authorization": f"Bearer {stack.environment['QUEUE_PROCESSOR_TOKEN']}"}
    assert httpx.post(f"{stack.urls.functions}/api/process-queue", headers=ticked).status_code == 200
    variables = {**os.environ, "API_KEY": stack.api_key, "JOB": "", "NO_PROXY": "127.0.0.1"}
    for command, shown in commands().items():
        if not command.startswith("curl"):
            continue
        here = command.replace("http://127.0.0.1:8000", stack.urls.functions)
        printed = subprocess.run(["sh", "-c", here], env=variables, capture_output=True, text=True, check=True).stdout
        assert pattern(printed) == pattern(shown), command
        variables["JOB"] = json.loads(printed).get("id", variables["JOB"])


def test_the_settings_table_is_the_settings() -> None:
    section = README.split("## Settings", 1)[1].split("\n## ", 1)[0]
    rows = {
        name: default.strip("` ") for name, default in re.findall(r"^\| `([A-Z_]+)` \| ([^|]*?) ?\|", section, re.M)
    }
    both = {**Settings.model_fields, **WaveSpeedSettings.model_fields}
    fields = {name.upper(): field for name, field in both.items()}
    assert set(rows) == set(fields), set(rows) ^ set(fields)
    # These defaults are told in words.
    elsewhere = {"QUEUE_PREFIX", "QUEUE_CONCURRENCY", "MAX_USER_QUEUED", "QUEUE_OPTIONS"}
    for name, field in fields.items():
        if name not in elsewhere:
            default = "" if field.default is None else str(field.default)
            assert rows[name] == (default.lower() if isinstance(field.default, bool) else default), name


async def test_the_calls_table_names_every_route() -> None:
    from functions.index import app

    told = set(re.findall(r"^\| `(GET|POST|PATCH|DELETE) (/api/[^`]+)`", README, re.M))
    paths = app.openapi()["paths"]
    routes = {
        (method.upper(), path.replace("{job_id}", "{id}")) for path, methods in paths.items() for method in methods
    }
    assert told == routes


async def test_the_fairness_table_is_what_the_bench_counts_and_meets_its_targets() -> None:
    rows, _ = await fairness.measure(fairness.JOBS)
    assert all(is_met for row in rows for is_met in row.targets().values())
    counted = {
        (row.scenario, row.policy.strip("()"), row.cap): (str(row.first_serve), f"{row.jain:.3f}", f"{row.ratio:.3f}")
        for row in rows
    }
    section = README.split("How fair it is", 1)[1]
    shown = re.findall(r"^\| ([a-z0-9 ]+) \| `?(\w+)`? \| (\w+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", section, re.M)
    assert len(shown) == 10
    for scenario, policy, cap, *figures in shown:
        assert counted[scenario, policy, cap] == tuple(figures), scenario
