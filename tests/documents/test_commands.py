"""The commands of the README and the pages print the shown output. test_guide has those of docs/deploy.md."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.announcement import announcement
from local.configuration import Configuration
from local.stack import Stack
from shared.env_file import setting_names
from tests.documents.console import PAGES, README, Command, commands
from tests.project import ROOT

DOCUMENTS = {path: found for path in (README, *PAGES) if path.name != "deploy.md" and (found := commands(path))}
SHOWN = [command for found in DOCUMENTS.values() for command in found]
WITH_CALLS = [path for path, found in DOCUMENTS.items() if any(one.text.startswith("curl ") for one in found)]
RECEIVER = ".venv/bin/python -m local.receiver"
PATIENCE = 20.0  # s for which a reader polls before a document would have to say so


def shown(text: str) -> list[Command]:
    found = [command for command in SHOWN if command.text == text]
    assert found, f"no document shows {text}"
    return found


def environment() -> dict[str, str]:
    """This machine's environment without the tests' settings and without the arguments of `make test`."""
    others = {"MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS", "ARGS"}
    return {
        name: value for name, value in os.environ.items() if name not in others and name.upper() not in setting_names()
    }


def test_every_command_is_run_by_a_test() -> None:
    known = {"make demo", "make dev", "make test", RECEIVER}
    assert known <= {command.text for command in SHOWN}
    run = ("curl ", "make cost ", *known)
    assert [command for command in SHOWN if not command.text.startswith(run)] == []
    assert len(SHOWN) >= 28


@pytest.mark.exhaustive
def test_make_demo_prints_what_is_shown() -> None:
    ended = subprocess.run(["make", "demo"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for command in shown("make demo"):
        assert command.prints(ended.stdout), (command.document, ended.stdout)
    files = sorted(path.suffix for path in (ROOT / ".sluice/demo/results").iterdir())
    assert files == [".mp4", ".mp4", ".mp4", ".mp4", ".png"]


def test_make_cost_prints_what_is_shown() -> None:
    (command,) = (command for command in SHOWN if command.text.startswith("make cost"))
    ended = subprocess.run(
        ["/bin/sh", "-c", command.text], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == command.output.strip()


def test_ci_runs_the_test_command() -> None:
    assert shown("make test") and "\nmake test\n" in (ROOT / ".ci/run").read_text()


def test_make_dev_runs_the_stack_that_the_next_tests_start() -> None:
    dry = subprocess.run(["make", "--dry-run", "dev"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-m local.stack" in dry.stdout


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("dev")
    configuration = Configuration(0, 0, 0, tick=1, data_dir=data, log_dir=data / "logs", sealed=True)
    with Stack(configuration) as running:
        headers = {"Authorization": f"Bearer {running.environment['QUEUE_PROCESSOR_TOKEN']}"}
        url = f"{running.urls.functions}/api/process-queue"
        assert httpx.post(url, headers=headers, trust_env=False).status_code == 200
        yield running


@pytest.fixture(scope="module")
def received(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The output so far of the command that shows events; its first line has the URL for a submit."""
    output = tmp_path_factory.mktemp("receiver") / "received"
    command = [sys.executable, "-m", "local.receiver", "--url", stack.urls.functions, "--port", "0"]
    environ = {**os.environ, "API_KEY": stack.api_key}
    with output.open("w") as file, subprocess.Popen(command, cwd=ROOT, env=environ, stdout=file) as process:
        try:
            yield output
        finally:
            process.terminate()
            assert process.wait(10) == 0


def hook_url(received: Path) -> str:
    give_up_at = time.monotonic() + PATIENCE
    while (found := re.search(r"hook_url (\S+)\n", received.read_text())) is None:
        assert time.monotonic() < give_up_at, "the receiver did not start"
        time.sleep(0.02)
    return found.group(1)


@pytest.mark.exhaustive
def test_the_announcement_is_what_is_shown(stack: Stack) -> None:
    printed = announcement(stack.urls, stack.configuration, stack.environment).replace(
        str(stack.configuration.data_dir), ".sluice"
    )
    for command in shown("make dev"):
        assert command.prints(printed), (command.document, printed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", WITH_CALLS, ids=lambda path: path.name)
def test_the_calls_of_a_document_answer_what_it_shows(path: Path, stack: Stack, received: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not on PATH (apt install curl)")
    (tmp_path / "boat.png").write_bytes(b"." * 84_213)
    variables = {
        **os.environ, "API_KEY": stack.api_key, "OPERATOR_TOKEN": stack.environment["OPERATOR_TOKEN"], "JOB": "",
        "PROVIDER_TOKEN": stack.environment["REPLICATE_API_TOKEN"],
        "STORE_TOKEN": stack.environment["UPSTASH_REDIS_REST_TOKEN"], "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    for command in DOCUMENTS[path]:
        if not command.text.startswith("curl "):
            continue
        here = command.text.replace("http://127.0.0.1:8000", stack.urls.functions)
        here = here.replace("http://127.0.0.1:8090", (stack.urls.provider or "").removesuffix("/v1"))
        here = here.replace("http://127.0.0.1:8079", stack.urls.store or "")
        here = here.replace("http://127.0.0.1:8070/hook", hook_url(received))
        answer = answered(command, here, tmp_path, variables)
        variables["JOB"] = answer.get("id", variables["JOB"])
        if "upload_url" in answer:
            variables |= {"UPLOAD_URL": answer["upload_url"], "IMAGE_URL": answer["url"]}
    for command in DOCUMENTS[path]:
        if command.text == RECEIVER:
            assert command.prints(received.read_text()), received.read_text()
    downloaded = tmp_path / "boat.mp4"
    wanted = any("-o boat.mp4" in command.text for command in DOCUMENTS[path])
    assert wanted == downloaded.exists() and (not wanted or downloaded.read_bytes()[4:8] == b"ftyp")


def answered(command: Command, here: str, folder: Path, variables: dict[str, str]) -> dict[str, str]:
    """The answer of the call; a read is repeated until it shows what the document shows, as a reader polls."""
    is_read = not re.search(r" -(?:d|X|T) ", command.text)
    give_up_at = time.monotonic() + (PATIENCE if is_read else 0)
    while True:
        ended = subprocess.run(
            ["/bin/sh", "-c", here], cwd=folder, env=variables, capture_output=True, text=True, check=True
        )
        if command.prints(ended.stdout):
            answer: dict[str, str] = json.loads(ended.stdout or "{}")
            return answer
        assert time.monotonic() < give_up_at, (command.document, command.text, ended.stdout)
        time.sleep(0.2)


@pytest.mark.exhaustive
def test_the_reference_names_every_field_of_a_job(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.urls.functions, headers=headers, trust_env=False) as client:
        body = {"model": "acme/text-to-image", "input": {"prompt": "A field"}, "user_id": "fields"}
        made = client.post("/api/submit", json=body).json()
        job = client.get(made["links"]["status"]).json()
        batch = client.post("/api/batches", json={**body, "input": None, "jobs": [{"input": {}}]})
        assert batch.status_code == 422 and set(batch.json()) == {
            "type", "title", "status", "code", "detail", "retryable", "field"
        }  # fmt: skip
    reference = (ROOT / "docs/api.md").read_text()
    section = reference.split("\n## The job\n", 1)[1].split("\n### ", 1)[0]
    cells = " ".join(re.findall(r"^\| ([^|]+) \|", section, re.M))
    assert set(job) - set(re.findall(r"`(\w+)`", cells)) == set()
