"""A function of the package that AWS's runtime client restores from a snapshot."""

import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import aws_tools
from tests.deploy.aws_emulator import stop
from tests.deploy.aws_project import Template
from tests.threads import running

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

ANSWER_SECONDS = 30.0
# The runtime client crashes without any of these.
HEADERS = {
    "Content-Type": "application/json",
    "Lambda-Runtime-Aws-Request-Id": "request-1",
    "Lambda-Runtime-Deadline-Ms": "4102444800000",
    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:health",
    "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
}
# Answers a random number. Its seed stands for the memory of a snapshot, from which each function is restored.
HANDLER = """
import random
from functions import health

random.seed(1)


def handler(event, context):
    return random.random()
"""


class RuntimeApi:
    """Lambda's API for its runtimes, as far as a restored function uses it (AWS, "Lambda runtime API")."""

    def __init__(self) -> None:
        self.restored = 0
        self.answers: list[Any] = []
        self.is_answered = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith("/restore/next"):
                    api.restored += 1
                elif api.answers or not api.restored:
                    return  # the function waits
                self.answer(200, b"{}")
                self.answer(200, b"{}")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                api.answers.append((self.path.rpartition("/")[2], json.loads(body)))
                self.answer(202, b"")
                api.is_answered.set()

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                for name, value in HEADERS.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Logs nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def restored(task: Path, folder: Path, variables: dict[str, str]) -> Any:
    """Returns what the function answers after its restoration."""
    api = RuntimeApi()
    with running(api.server) as server:
        given = {
            "PATH": os.defpath,
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBDA_TASK_ROOT": str(folder),
            "PYTHONPATH": f"{folder}{os.pathsep}{task}{os.pathsep}{aws_tools.runtime_client()}",
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_address[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": "health",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            **variables,
        }
        command = [str(aws_tools.lambda_python()), "-m", "awslambdaric", "snapshot_handler.handler"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=given, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            try:
                assert api.is_answered.wait(ANSWER_SECONDS), (folder / "log").read_text()
            finally:
                stop(process)
    assert api.restored == 1
    ((kind, answer),) = api.answers
    assert kind == "response", answer
    return answer


def test_two_functions_of_one_snapshot_have_their_own_random_numbers(
    task: Path, template: Template, tmp_path: Path
) -> None:
    (tmp_path / "snapshot_handler.py").write_text(HANDLER)
    variables = template.functions["health"]["Environment"]["Variables"]
    assert restored(task, tmp_path, variables) != restored(task, tmp_path, variables)
