"""The types of numbers in settings, and lists of ``name:number``."""

from typing import Annotated

from pydantic import Field

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]

NUMBERS_BY_NAME = r"^([a-z0-9_-]+:[0-9]+([.][0-9]+)?( *, *|$))*$"


def numbers_by_name(text: str) -> dict[str, float]:
    """The numbers of ``name:number[,...]``."""
    pairs = (part.strip().partition(":") for part in text.split(",") if part.strip())
    return {name: float(number) for name, _, number in pairs}


def has_repeated_name(text: str) -> bool:
    """Whether ``name[:number][,...]`` has a name more than once."""
    names = [part.partition(":")[0].strip() for part in text.split(",")]
    return len(names) != len(set(names))
