"""What a caller of the doctor may ask for."""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

OF_WALK = "(index|keys)[.][0-9]{1,20}"


def _of_walk(value: str) -> str:
    """Returns a cursor whose number the store's SCAN takes: 64 bits."""
    if not re.fullmatch(OF_WALK, value) or int(value.partition(".")[2]) >= 2**64:
        raise ValueError("must come from an answer to the same request")
    return value


Cursor = Annotated[str, AfterValidator(_of_walk), WithJsonSchema({"type": "string", "pattern": f"^{OF_WALK}$"})]

Name = Literal["settings", "store", "scripts", "schedule", "webhook", "storage", "queue"]


class DoctorQuery(BaseModel):
    """The query of ``GET /api/operate/doctor``: which check, and where an earlier call stopped."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    only: Name | None = None
    limit: Annotated[int, Field(ge=1, le=20_000)] = 2000  # entries of the index and keys that the call walks past
    cursor: Cursor | None = None

    @field_validator("cursor")
    @classmethod
    def _of_queue(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("only") not in (None, "queue"):
            raise ValueError("is of the check `queue` only")
        return value


class DoctorOrder(DoctorQuery):
    """The body of ``POST /api/operate/doctor``."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    fix: bool = False
