"""The commands in the documents, and a comparison of their real output with the shown one.

What differs from run to run (ids, times, numbers, keys) matches any other of its kind. In what is shown, ``...`` on its
own line matches any lines, ``{...}`` and ``[...]`` for any JSON, and ``...`` elsewhere for any text in a line.
"""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.project import ROOT

README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^ *```console\n(.*?)^ *```", re.M | re.S)
VARYING = (
    (re.compile(r"(job|bat|evt)_[0-9a-f]+"), r"\1_*"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r"\b([0-9a-f]{32}){1,2}\b"), "<key>"),
    (re.compile(r"whsec_[A-Za-z0-9+/=]+"), "whsec_*"),
    (re.compile(r"\d+(\.\d+)?"), "#"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True)
class Command:
    """A command of a document and what is shown below it."""

    document: str
    text: str
    output: str

    def prints(self, printed: str) -> bool:
        """Whether this output matches the shown one; JSON is laid out as in the document."""
        return re.fullmatch(_expected(self.output), _plain(_laid_out(printed))) is not None


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(path: Path) -> list[Command]:
    """Every command in the document's console blocks, in its order."""
    found = []
    for block in BLOCK.findall(path.read_text()):
        lines = block.splitlines()
        assert lines[0].lstrip().startswith("$ "), f"{name(path)}: a console block begins with a command"
        while lines:
            command = lines.pop(0).strip().removeprefix("$ ")
            while not _is_whole(command):
                command += "\n" + lines.pop(0)
            output = []
            while lines and not lines[0].lstrip().startswith("$ "):
                output.append(lines.pop(0))
            found.append(Command(name(path), command, "\n".join(output)))
    return found


def _is_whole(command: str) -> bool:
    """Whether a shell would run it, and not wait for the next line."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return not command.endswith("\\")


def _laid_out(printed: str) -> str:
    try:
        return json.dumps(json.loads(printed), indent=2, ensure_ascii=False)
    except ValueError:
        return printed


def _plain(text: str) -> str:
    """The text without parts that differ from run to run."""
    lines = []
    for line in text.splitlines():
        for varying, mark in VARYING:
            line = varying.sub(mark, line)
        lines.append(line.strip() + "\n")
    return "".join(lines)


def _expected(shown: str) -> str:
    """The regular expression that matches what a document's text allows."""
    lines = []
    for line in _plain(shown).splitlines():
        if line == "...":
            lines.append(r"(?:.*\n)*?")
            continue
        exact = (
            re.escape(line).replace(re.escape("{...}"), r"\{[\s\S]*?\}").replace(re.escape("[...]"), r"\[[\s\S]*?\]")
        )
        lines.append(exact.replace(re.escape("..."), ".*?") + r"\n")
    return "".join(lines)
