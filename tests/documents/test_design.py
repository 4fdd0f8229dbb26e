"""DESIGN.md agrees with the code."""

import ast
import re
from typing import get_args

from shared.config.settings import Settings
from shared.jobqueue.keys import PAUSES, Keys
from shared.jobqueue.script import LIBRARIES, VERBS
from shared.jobqueue.state import FIRST_STATES, MOVES, JobState, Outcome
from tests.project import ROOT

DESIGN = (ROOT / "DESIGN.md").read_text()
# What every room may use, as the section "Rooms" says.
GROUND = {
    *("config", "signing", "addresses", "mailboxes", "egress", "connection", "tls", "turnstile", "proxies"),
    *("budget", "together", "clock", "tracing", "problem", "errors", "log", "json_value", "frozen", "sums", "tally"),
}
# A cell without a test says why there is none.
EXCUSE = re.compile(r"later|no replica")


def section(title: str) -> str:
    return DESIGN.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_every_fault_names_a_test_that_exists_or_says_why_there_is_none() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", section("Faults"), re.M)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1)) and len(rows) > 50
    for number, proof in rows:
        named = re.findall(r"(test_\w+)(?:::(test_\w+))?", proof)
        assert named or EXCUSE.search(proof), number
        for module, name in named:
            (path,) = (ROOT / "tests").rglob(f"{module}.py")
            assert not name or re.search(rf"def {name}\(", path.read_text()), f"{number}: {module}::{name}"


def test_every_key_is_in_the_table() -> None:
    keys = Keys("p")
    names = {
        keys.index, keys.stats, keys.dead, keys.outbox, keys.undelivered, keys.lost, keys.queue_names,
        keys.api_keys, keys.audit, keys.entries, keys.sums, keys.commands("<month>"), keys.alerts,
        keys.job("<id>"), keys.user("<owner>", "<user>"), keys.batch("<batch>"), keys.batch_queue("<batch>"),
        keys.job_of_prediction("<prediction>"), keys.lane_rows("<lane>"), keys.lane_state("<lane>"),
        keys.spending("<month>"),
        keys.held("<owner>"), keys.active("<owner>"), keys.archive("<owner>", "<user>"), keys.erasure("<folder>"),
        keys.codes("<owner>", "<address>"), keys.code_client("<owner>", "<client>"), keys.blocked,
            keys.rates("<rate>") + ":<name>", keys.trial("<name>"),
        keys.root + PAUSES + "<provider>", keys.root + PAUSES + "halts",
    }  # fmt: skip
    table = set(re.findall(r"^\| `([^`]+)` \| (?:ZSET|HASH|STRING|STREAM) \|", section("The store"), re.M))
    # Only a script knows the key of a model's runs.
    assert {key.removeprefix("p:") for key in names} == table - {"m:<provider>:<model>"}


def test_every_library_is_in_the_table_in_the_order_in_which_they_are_sent() -> None:
    table = section("The store").split("| library | has |", 1)[1].split("\n\n", 1)[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.M)) == LIBRARIES


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


def test_each_room_uses_only_what_its_row_names() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]*) ?\|$", section("Rooms"), re.M)
    found = _rooms()
    assert {room for room, _ in rows} == set(found)
    for room, allowed in rows:
        named = set(re.findall(r"`(\w+)`", allowed))
        if allowed.startswith("all but"):
            named = set(found) - named - {room}
        assert found[room] - GROUND <= named, f"{room} uses {sorted(found[room] - GROUND - named)}"


def _rooms() -> dict[str, set[str]]:
    """The rooms of shared/, each with those that it imports from."""
    graph: dict[str, set[str]] = {}
    for path in (ROOT / "shared").rglob("*.py"):
        room = path.relative_to(ROOT / "shared").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        used = graph.setdefault(room, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "shared":
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shared."):
                used.add((node.module or "").split(".")[1])
        used.discard(room)
    return graph


def test_the_timing_tables_show_what_the_settings_are() -> None:
    made = Settings(sluice_env="test")
    derived = re.findall(r"^\| `([A-Z_]+)` \| [^|]+ \| (\d+) \|$", section("Timing"), re.M)
    assert len(derived) == 7
    assert {name: float(shown) for name, shown in derived} == {name: getattr(made, name.lower()) for name, _ in derived}
    rules = re.findall(r"^\| ([^|`]+ <=? [^|]+) \| ([\d.]+) (<=?) ([\d.]+) \|", section("Timing"), re.M)
    assert len(rules) == 17
    for rule, left, sign, right in rules:
        sides = [_value(side, made) for side in rule.split(f" {sign} ")]
        assert sides == [float(left), float(right)], rule


def _value(side: str, made: Settings) -> float:
    """The value of one side of a rule: terms joined by + and -, each a number, a setting, or "2 x" one."""
    total, sign = 0.0, 1
    for part in re.split(r" ([+-]) ", side):
        if part in "+-":
            sign = 1 if part == "+" else -1
            continue
        factor, _, name = part.rpartition(" x ")
        value = getattr(made, name.lower()) if name.isupper() else float(name)
        total += sign * float(factor or 1) * value
    return total


def test_every_path_exists() -> None:
    """A path begins at the root, or in shared/."""
    paths = {path for path in re.findall(r"`([\w./-]+\.(?:py|lua|md|yml))`", DESIGN) if "/" in path}
    paths |= set(re.findall(r"\b(tests/[\w/]+\.py)\b", DESIGN))
    assert len(paths) > 10
    assert [p for p in sorted(paths) if not (ROOT / p).exists() and not (ROOT / "shared" / p).exists()] == []


def test_the_glossary_explains_the_words_of_design_in_order() -> None:
    words = re.findall(r"^\| ([a-z -]+) \| (?!meaning)", section("Words"), re.M)
    glossary = (ROOT / "docs" / "glossary.md").read_text()
    explained = re.findall(r"^\| ([a-z -]+) \| (?!in a sentence)", glossary, re.M)
    assert len(words) == len(set(words)) > 30
    assert explained == sorted(words)
