"""The class of each failure, by its text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.providers.failure_rules import RULES
from shared.providers.failures import KNOWN_CLASSES, MAX_READ, classify_failure, clean
from tests.providers.failure_texts import TEXTS


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_each_text_has_its_class(text: str, expected: tuple[str, bool]) -> None:
    assert classify_failure(text) == expected


def test_the_table_is_long_and_names_each_class_that_a_text_can_have() -> None:
    assert len({text for text, _ in TEXTS}) == len(TEXTS) >= 60
    assert {rule.code for rule in RULES} == {code for _, (code, _) in TEXTS} <= set(KNOWN_CLASSES)


@given(st.text())
def test_any_text_has_a_class(text: str) -> None:
    assert classify_failure(text)[0] in KNOWN_CLASSES


def test_only_the_beginning_of_a_text_is_read() -> None:
    assert classify_failure("x " * MAX_READ + "CUDA out of memory") == ("unknown", True)
    assert clean("x" * 10_000_000) == "x" * 500


def test_no_rule_repeats_a_repetition() -> None:
    for rule in RULES:
        for phrase in rule.pattern.pattern.split("|\\b"):
            assert not re.search(r"\)[*+{]", phrase), phrase
            # The one unbounded repetition is the rest of a word; all others are gaps, of which a phrase has few.
            assert not re.search(r"[*+]", phrase.replace(r"\w*", "")), phrase
            assert phrase.count("{") == phrase.count("{0,40}") <= 3, phrase


def test_a_long_traceback_is_judged_by_its_last_line() -> None:
    frames = 'File "/src/predict.py", line 3, in safety_check\n  raise\n' * 50
    text = f"Traceback (most recent call last):\n{frames}RuntimeError: No face detected"
    assert classify_failure(clean(text)) == ("invalid_input", False)


# Beginnings of phrases, again and again: a pattern that goes back over its text would not come to an end.
@pytest.mark.parametrize(
    "unit", ["invalid ", "no face ", "failed to ", "/", "a/b ", "x.p", "(((", "violate", "违", "\0"]
)
def test_a_text_of_any_length_comes_to_an_end(unit: str) -> None:
    assert classify_failure(unit * 2_000_000)[0] in KNOWN_CLASSES
