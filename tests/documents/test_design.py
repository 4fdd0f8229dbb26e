"""What DESIGN.md says can be found in the code."""

import re
from typing import get_args

from shared.jobqueue.keys import Keys
from shared.jobqueue.script import VERBS
from shared.jobqueue.state import FIRST_STATES, MOVES, JobState, Outcome
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


def test_the_state_table_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", section("A job's states"), re.M)
    outcomes = ", ".join(get_args(Outcome))
    assert rows == [
        (state.value, state.public or outcomes, state.entered_by, state.left_by, state.left_alone) for state in JobState
    ]


def test_only_verbs_move_a_job() -> None:
    for state in JobState:
        moves = f"{state.entered_by}, {state.left_by}"
        named = re.sub(r"\(.*?\)|every verb that makes a job of the user ready|no verb", "", moves)
        assert set(re.findall(r"[a-z_]+", named)) <= set(VERBS), state


def test_every_state_can_be_reached_and_only_the_end_is_final() -> None:
    assert FIRST_STATES.union(*MOVES.values()) == set(MOVES) == set(JobState)
    assert [state for state, following in MOVES.items() if not following] == [JobState.DONE]
