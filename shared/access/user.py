"""A user's id, in a body, a query or a token."""

from typing import Annotated
from unicodedata import bidirectional, category

from pydantic import AfterValidator, Field

MAX_ID = 128  # characters
CONTROLS = ("Cc", "Zl", "Zp")  # Unicode's categories; the last two are line and paragraph separators
OVERRIDES = ("LRO", "RLO")  # Unicode's bidirectional classes; reading.py refuses lone surrogates in any text


def _name(value: str) -> str:
    """Accepts what people write in any script: joiners, marks, emoji, and spaces of every kind and place."""
    # An override shows the text behind it backwards, so that one id looks like another.
    if any(category(c) in CONTROLS or bidirectional(c) in OVERRIDES for c in value):  # mutant: characters of a name
        raise ValueError("must not hold control characters, line breaks or direction overrides")
    return value


Id = Annotated[str, Field(min_length=1, max_length=MAX_ID), AfterValidator(_name)]


def is_user_id(value: object) -> bool:
    """Whether a value may be a user's id, as a token says it."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        return False
    try:
        value.encode()  # no lone surrogate
        return bool(_name(value))
    except ValueError:
        return False
