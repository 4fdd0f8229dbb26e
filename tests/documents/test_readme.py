"""The README's commands and snippets are run; it shows what they print, but for ids, times, counts and keys."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from bench import fairness
from local.configuration import Configuration
from local.environment import setting_names
from local.stack import Stack
from shared.config.settings import Settings
from shared.hooks import event
from shared.providers.wavespeed import WaveSpeedSettings
from tests.project import ROOT

README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```console\n(.*?)^```", re.M | re.S)
RECEIVER = ".venv/bin/python -m local.receiver"


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
    text = re.sub(r"(job|bat|evt)_[0-9a-f]+", r"\1_*", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)
    text = re.sub(r"\b([0-9a-f]{32}){1,2}\b", "<key>", text)
    text = re.sub(r"whsec_[A-Za-z0-9+/=]+", "whsec_*", text)
    text = re.sub(r"\d+(\.\d+)?", "#", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def assert_shows(shown: str, printed: str) -> None:
    """The README's lines are printed, in their order; ``...`` stands for any lines."""
    lines = iter(pattern(line) for line in printed.splitlines())
    for line in filter(None, (pattern(line) for line in shown.splitlines())):
        if line != "...":
            assert line in lines, f"not printed, or not in this order: {line}\n{printed}"


def test_every_command_is_known_to_this_test() -> None:
    known = ("make demo", "make test", "make dev", "make cost", "curl ", RECEIVER)
    assert all(command.startswith(known) for command in commands())
    assert len(commands()) == 18


def test_make_demo_prints_what_the_readme_shows() -> None:
    ended = subprocess.run(["make", "demo"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert_shows(commands()["make demo"], ended.stdout)
    shown = sorted(path.suffix for path in (ROOT / ".sluice/demo/results").iterdir())
    assert shown == [".mp4", ".mp4", ".mp4", ".mp4", ".png"]


def test_make_cost_prints_what_the_readme_shows() -> None:
    (command,) = (command for command in commands() if command.startswith("make cost"))
    ended = subprocess.run(
        ["/bin/sh", "-c", command], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert ended.stdout == commands()[command]


def environment() -> dict[str, str]:
    """This machine's environment without the settings of the tests, and without what `make test` was called with."""
    others = {"MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS", "ARGS"}
    return {
        name: value for name, value in os.environ.items() if name not in others and name.upper() not in setting_names()
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

    printed = announcement(stack.urls, stack.configuration, stack.environment)
    assert_shows(commands()["make dev"], printed.replace(str(stack.configuration.data_dir), ".sluice"))


def test_the_curl_commands_answer_and_the_receiver_prints_what_the_readme_shows(stack: Stack, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not on PATH (apt install curl)")
    ticked = {"Authorization": f"Bearer {stack.environment['QUEUE_PROCESSOR_TOKEN']}"}
    assert httpx.post(f"{stack.urls.functions}/api/process-queue", headers=ticked).status_code == 200
    variables = {**os.environ, "API_KEY": stack.api_key, "JOB": "", "NO_PROXY": "127.0.0.1"}
    (tmp_path / "boat.png").write_bytes(b"." * 84_213)
    with receiver(stack, tmp_path / "received") as hook_url:
        for command, shown in commands().items():
            if not command.startswith("curl"):
                continue
            if "$JOB/result" in command:
                await_event(tmp_path / "received")
            here = command.replace("http://127.0.0.1:8000", stack.urls.functions)
            here = here.replace("http://127.0.0.1:8070/hook", hook_url)
            ended = subprocess.run(
                ["/bin/sh", "-c", here], cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
            )
            assert pattern(ended.stdout) == pattern(shown), command
            answer = json.loads(ended.stdout or "{}")
            variables["JOB"] = answer.get("id", variables["JOB"])
            if "upload_url" in answer:
                variables |= {"UPLOAD_URL": answer["upload_url"], "IMAGE_URL": answer["url"]}
    assert pattern((tmp_path / "received").read_text()) == pattern(commands()[RECEIVER])
    assert (tmp_path / "boat.mp4").read_bytes()[4:8] == b"ftyp"


@contextmanager
def receiver(stack: Stack, output: Path) -> Iterator[str]:
    """The command that shows events, printing to a file; gives the URL to submit with."""
    command = [sys.executable, "-m", "local.receiver", "--url", stack.urls.functions, "--port", "0"]
    environ = {**os.environ, "API_KEY": stack.api_key}
    with output.open("w") as file, subprocess.Popen(command, cwd=ROOT, env=environ, stdout=file) as process:
        try:
            yield awaited(output, r"hook_url (\S+)\n")
        finally:
            process.terminate()
            assert process.wait(10) == 0


def await_event(output: Path) -> None:
    """Returns when an event has been printed whole."""
    awaited(output, r"\n(\})\n")


def awaited(file: Path, wanted: str, seconds: float = 20.0) -> str:
    """What the pattern's group matches in the file, as soon as it does."""
    give_up_at = time.monotonic() + seconds
    while (found := re.search(wanted, file.read_text())) is None:
        assert time.monotonic() < give_up_at, file.read_text()
        time.sleep(0.02)
    return found.group(1)


def snippet(language: str) -> str:
    """The README's one block in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)
    return str(found)


def signed(secret: str, now: float) -> tuple[bytes, dict[str, str]]:
    """An event as an owner gets it, its text beyond ASCII."""
    settings = Settings(sluice_env="test", api_keys="app:key", hooks={"app": {"secrets": [secret, OTHER_SECRET]}})
    body = event.written("completed", round(now * 1000), {"id": "job_1", "metadata": {"Straße": "日本"}})
    return body, dict(event.headers(settings, "app", "job_1", "completed", round(now * 1000), body))


SECRET, OTHER_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUFB" * 11
UNSIGNED = "whsec_" + "QkJC" * 11


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_snippets_read_a_signed_event_and_no_other(language: str, tmp_path: Path) -> None:
    read = read_in_python if language == "python" else read_in_node
    body, headers = signed(SECRET, time.time())
    cases: list[tuple[str, bytes, dict[str, str]]] = [
        (SECRET, body, headers),
        (OTHER_SECRET, body, headers),
        (UNSIGNED, body, headers),
        (SECRET, body.replace(b"job_1", b"job_2"), headers),
        (SECRET, *signed(SECRET, time.time() - 600)),
        (SECRET, body, {name: value for name, value in headers.items() if name != "webhook-timestamp"}),
        (SECRET, body, {name: value for name, value in headers.items() if name != "webhook-signature"}),
        (SECRET, body, headers | {"webhook-signature": "nonsense v1,!"}),
    ]
    expected = json.loads(body)
    assert read(cases, tmp_path) == [expected, expected, *[None] * 6]


def read_in_python(cases: list[tuple[str, bytes, dict[str, str]]], _: Path) -> list[Any]:
    names: dict[str, Any] = {}
    exec(snippet("python"), names)  # noqa: S102 (the README's own)
    return [names["read_event"](*case) for case in cases]


def read_in_node(cases: list[tuple[str, bytes, dict[str, str]]], folder: Path) -> list[Any]:
    if shutil.which("node") is None:
        pytest.skip("node is not on PATH")
    given = json.dumps([[secret, body.decode(), headers] for secret, body, headers in cases])
    script = f"{snippet('javascript')}\nconsole.log(JSON.stringify({given}.map((one) => readEvent(...one))));\n"
    (folder / "snippet.mjs").write_text(script)
    ended = subprocess.run(["node", str(folder / "snippet.mjs")], capture_output=True, text=True, check=True)
    read: list[Any] = json.loads(ended.stdout)
    return read


def test_the_settings_table_is_the_settings() -> None:
    section = README.split("## Settings", 1)[1].split("\n## ", 1)[0]
    rows = {
        name: default.strip("` ") for name, default in re.findall(r"^\| `([A-Z_]+)` \| ([^|]*?) ?\|", section, re.M)
    }
    both = {**Settings.model_fields, **WaveSpeedSettings.model_fields}
    fields = {name.upper(): field for name, field in both.items()}
    assert set(rows) == set(fields), set(rows) ^ set(fields)
    # These defaults are given in words.
    elsewhere = {"QUEUE_PREFIX", "QUEUE_CONCURRENCY", "MAX_USER_QUEUED", "QUEUE_OPTIONS", "HOOKS"}
    for name, field in fields.items():
        if name not in elsewhere:
            # Derived times are given for a function of 60 s.
            times = {"function_max_duration": 60.0, "timing_scale": 1.0}
            default = field.get_default(call_default_factory=True, validated_data=times)
            text = "" if default is None else str(default)
            assert rows[name] == (text.lower() if isinstance(default, bool) else text), name


async def test_the_calls_table_names_every_route() -> None:
    from functions.index import ROUTERS

    told = set(re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/api/[^`]+)`", README, re.M))
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    # A GET that answers HEAD too is one call.
    assert told == {
        (method, route.path_format.replace("{job_id}", "{id}"))
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
    }


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
