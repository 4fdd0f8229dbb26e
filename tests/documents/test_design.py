"""What DESIGN.md says can be found in the code."""

import re

from shared.jobqueue.keys import Keys
from shared.jobqueue.script import VERBS
from tests.project import ROOT

DESIGN = (ROOT / "DESIGN.md").read_text()


def section(title: str) -> str:
    return DESIGN.split(f"## {title}", 1)[1].split("\n## ", 1)[0]


def test_every_fault_names_a_test_that_exists_or_says_why_there_is_none() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", section("Faults and what they meet"), re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 51))
    for number, proof in rows:
        named = re.findall(r"(test_\w+)(?:::(test_\w+))?", proof)
        assert named or re.search(r"later|no replica", proof), number
        for module, name in named:
            (path,) = (ROOT / "tests").rglob(f"{module}.py")
            text = path.read_text()
            assert not name or re.search(rf"def {name}\(", text), f"{number}: {module}::{name}"


def test_every_key_is_in_the_table() -> None:
    keys = Keys("p")
    table = section("The store")
    for key in (keys.index, keys.stats, keys.dead, keys.job("<id>"), keys.user("<key name>", "<user>")):
        assert f"| `{key.removeprefix('p:')}` |" in table
    for key in (keys.batch("<batch>"), keys.batch_queue("<batch>")):
        assert f"| `{key.removeprefix('p:')}` |" in table
    assert f"| `{keys.owner('<prediction>').removeprefix('p:')}` |" in table


def test_the_state_table_names_only_verbs() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|", section("A job's states"), re.M)
    assert [state for state, _, _ in rows] == ["backlog", "queued", "submitting", "running", "delayed", "done"]
    for _, entering, leaving in rows:
        words = re.findall(r"[a-z_]+", re.sub(r"\(.*?\)", "", f"{entering}, {leaving}"))
        assert set(words) <= {*VERBS, "nobody"}
