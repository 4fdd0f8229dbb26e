"""How one prediction behaves: the fields of `input["simulate"]`, and the default for inputs without them."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Output = Literal["mp4", "png", "text", "list"]
Create = Literal[
    "accept",
    "401",
    "402",
    "403",
    "404",
    "422",
    "429",
    "500",
    "503",
    "drop_before",
    "hang",
    "apply_then_drop",
    "apply_then_hang",
]
Webhook = Literal["ok", "lose", "duplicate", "delay", "late", "overtake"]


class Behaviour(BaseModel):
    """The choices for one prediction; the package's docstring explains each field."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(default=2.0, ge=0)
    start_delay: float = Field(default=0.3, ge=0)
    outcome: Literal["succeed", "fail", "stall"] = "succeed"
    error: str = "The model raised an exception."
    fail_times: int = Field(default=0, ge=0)
    create: Create = "accept"
    create_times: int | None = Field(default=None, ge=0)
    retry_after: int | None = Field(default=None, ge=0)
    webhook: Webhook = "ok"
    webhook_delay: float = Field(default=5.0, ge=0)
    output: Output = "mp4"
    group: list[str] = []

    @field_validator("create", mode="before")
    @classmethod
    def _status_as_text(cls, given: object) -> object:
        return str(given) if isinstance(given, int) else given

    @field_validator("group", mode="before")
    @classmethod
    def _labels(cls, given: object) -> object:
        return [label.strip() for label in given.split(",") if label.strip()] if isinstance(given, str) else given

    @property
    def applies(self) -> bool:
        """Whether the create call makes a prediction, with or without an answer."""
        return self.create in ("accept", "apply_then_drop", "apply_then_hang")

    @property
    def hangs(self) -> bool:
        """Whether the create call gets no answer until the caller gives up."""
        return self.create in ("hang", "apply_then_hang")

    @property
    def drops(self) -> bool:
        """Whether the connection is closed instead of an answer."""
        return self.create in ("drop_before", "apply_then_drop")


@dataclass
class StandingBehaviour:
    """The default fields of the next `creates` creates, or of all until it is cleared."""

    fields: dict[str, Any]
    creates: int | None = None

    def take(self) -> dict[str, Any]:
        """Returns the fields for the next create and counts it."""
        if self.creates is None:
            return self.fields
        if self.creates <= 0:
            return {}
        self.creates -= 1
        return self.fields
