"""The code that verifies an event, as docs/results-and-hooks.md shows it, reads what Sluice signs and nothing else."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from shared.config.settings import Settings
from shared.hooks import event
from tests.project import ROOT

PAGE = (ROOT / "docs/results-and-hooks.md").read_text()
SECRET, OTHER_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUFB" * 11
UNUSED_SECRET = "whsec_" + "QkJC" * 11
Case = tuple[str, bytes, dict[str, str]]  # secret, body, headers


def snippet(language: str) -> str:
    """The page's one block in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    return str(found)


def signed(secret: str, now: float) -> tuple[bytes, dict[str, str]]:
    """An event as its receiver gets it, with text beyond ASCII."""
    settings = Settings(sluice_env="test", api_keys="app:key", hooks={"app": {"secrets": [secret, OTHER_SECRET]}})
    body = event.event_body("completed", round(now * 1000), {"id": "job_1", "metadata": {"Straße": "日本"}})
    return body, dict(event.headers(settings, "app", "evt_1", round(now * 1000), body))


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_snippets_read_a_signed_event_and_no_other(language: str, tmp_path: Path) -> None:
    read = read_in_python if language == "python" else read_in_node
    body, headers = signed(SECRET, time.time())
    cases: list[Case] = [
        (SECRET, body, headers),
        (OTHER_SECRET, body, headers),
        (UNUSED_SECRET, body, headers),
        (SECRET, body.replace(b"job_1", b"job_2"), headers),
        (SECRET, *signed(SECRET, time.time() - 600)),
        (SECRET, body, {name: value for name, value in headers.items() if name != "webhook-timestamp"}),
        (SECRET, body, {name: value for name, value in headers.items() if name != "webhook-signature"}),
        (SECRET, body, headers | {"webhook-signature": "nonsense v1,!"}),
    ]
    expected = json.loads(body)
    assert read(cases, tmp_path) == [expected, expected, *[None] * 6]


def read_in_python(cases: list[Case], _: Path) -> list[Any]:
    names: dict[str, Any] = {}
    exec(snippet("python"), names)  # noqa: S102 (the document's own)
    return [names["read_event"](*case) for case in cases]


def read_in_node(cases: list[Case], folder: Path) -> list[Any]:
    if shutil.which("node") is None:
        pytest.skip("node is not on PATH")
    given = json.dumps([[secret, body.decode(), headers] for secret, body, headers in cases])
    script = f"{snippet('javascript')}\nconsole.log(JSON.stringify({given}.map((one) => readEvent(...one))));\n"
    (folder / "snippet.mjs").write_text(script)
    ended = subprocess.run(["node", str(folder / "snippet.mjs")], capture_output=True, text=True, check=True)
    read: list[Any] = json.loads(ended.stdout)
    return read
