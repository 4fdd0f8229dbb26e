"""shared/frozen.py makes what Python's own dataclasses are, and writes one method for each instead of six."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from shared import frozen


def classes(decorator: Callable[..., Any]) -> tuple[type[Any], type[Any], type[Any]]:
    """Returns a class with fields of each kind, one that inherits from it, and one without fields."""

    @decorator(frozen=True)
    class Plain:
        """A class."""

        name: str
        count: int = 0
        secret: str = dataclasses.field(default="x", repr=False)
        status: int = dataclasses.field(default=0, compare=False)
        parts: tuple[str, ...] = dataclasses.field(default_factory=tuple)

    @decorator(frozen=True)
    class More(Plain):
        """A class that adds a field."""

        more: int = 1

    @decorator(frozen=True)
    class Empty:
        """A class without fields."""

    return Plain, More, Empty


OURS, PYTHONS = classes(frozen.dataclass), classes(dataclasses.dataclass)


@pytest.mark.parametrize("of", range(3))
def test_it_has_the_fields_and_the_text_of_pythons(of: int) -> None:
    ours, pythons = OURS[of], PYTHONS[of]
    assert [field.name for field in dataclasses.fields(ours)] == [field.name for field in dataclasses.fields(pythons)]
    given = ["a"] if dataclasses.fields(ours) else []
    assert repr(ours(*given)) == repr(pythons(*given))
    assert ours.__match_args__ == pythons.__match_args__


@pytest.mark.parametrize("made", [OURS, PYTHONS], ids=["ours", "Python's"])
def test_equality_and_hash_are_by_class_and_by_compared_fields(made: tuple[type[Any], ...]) -> None:
    plain, more, empty = made
    assert plain("a", 1) == plain("a", 1) != plain("b", 1)
    assert plain("a", status=1) == plain("a", status=2) and plain("a", secret="y") != plain("a")
    assert plain("a") != more("a") and more("a") == more("a") != more("a", more=2)
    assert plain("a") != ("a", 0, "x", ()) and empty() == empty() != plain("a")
    assert len({plain("a"), plain("a", status=1), plain("b"), more("a"), empty(), empty()}) == 4
    assert dataclasses.replace(more("a"), name="b") == more("b")


def test_one_that_changes_is_none_of_ours() -> None:
    with pytest.raises(TypeError):
        frozen.dataclass(frozen=False)
