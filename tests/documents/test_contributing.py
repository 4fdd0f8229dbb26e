"""CONTRIBUTING.md names commands, files, tests and answers that exist."""

import re

import pytest

from tests.project import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
QUESTIONS = re.findall(r"^\| ([^|]+\?) \| ([^|]+) \|$", CONTRIBUTING, re.M)
# `points` and `TIER_POINTS` in `shared/jobqueue/priority.py`
PLACE = re.compile(r"((?:`\w+`(?:, | and )?)+) in `([\w/]+\.\w+)`")


def test_every_command_is_a_target_and_every_target_of_ci_is_named() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make ([a-z-]+)", CONTRIBUTING))
    assert named <= targets
    assert set(re.findall(r"^make ([a-z-]+)", (ROOT / ".ci" / "run").read_text(), re.M)) <= named


def test_every_path_exists() -> None:
    paths = set(re.findall(r"`([\w.-]+/[\w./-]*|[\w.-]+\.(?:py|yml|md|lua))`", CONTRIBUTING))
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_every_test_it_names_exists() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    modules = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    named = set(re.findall(r"`(test_\w+)`", CONTRIBUTING))
    assert len(named) > 10
    assert [name for name in sorted(named) if name not in modules and f"def {name}(" not in source] == []


def test_there_are_ten_questions() -> None:
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize(("question", "answer"), QUESTIONS, ids=[question for question, _ in QUESTIONS])
def test_a_question_is_answered_by_at_most_two_files(question: str, answer: str) -> None:
    places = PLACE.findall(answer)
    assert 1 <= len({path for _, path in places}) <= 2
    assert len(set(re.findall(r"`[\w/]+\.\w+`", answer))) == len({path for _, path in places})
    for names, path in places:
        source = (ROOT / path).read_text()
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", source), f"{name} is not in {path}"
