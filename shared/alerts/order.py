"""What an operator asks for with a silence."""

import re
from typing import Annotated, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.config.alerts import AlertName

ALL = "all"
MAX_DAYS = 90
KEY = re.compile(r"([a-z_]{1,40})(:[a-z0-9_-]{1,32})?")


def _alert(value: str) -> str:
    found = KEY.fullmatch(value)
    if value != ALL and (found is None or found[1] not in get_args(AlertName)):
        raise ValueError("must be the name or the key of an alert, or all")
    return value


class SilenceOrder(BaseModel):
    """The body of ``POST /api/operate/alerts/silences``."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    alert: Annotated[str, Field(max_length=80), AfterValidator(_alert)]
    minutes: Annotated[int, Field(ge=1, le=MAX_DAYS * 1440)]
    reason: Annotated[str, Field(min_length=1, max_length=200)]
