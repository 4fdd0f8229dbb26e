"""How often callers may submit, fail to prove who they are, and call for verification codes."""

import functools
from typing import Annotated

from pydantic import Field

from shared.config.environment import EnvironmentSettings
from shared.frozen import dataclass

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}  # s
# A count above a million would limit nothing.
FORM = r"[1-9][0-9]{0,5}/(second|minute|hour|day)"
RateText = Annotated[str, Field(pattern=f"^{FORM}$")]
RateOrOff = Annotated[str, Field(pattern=f"^({FORM}|off)$")]


@dataclass(frozen=True)
class Rate:
    """So many in each ``unit``, which lasts so many seconds."""

    count: int
    unit: str

    @property
    def seconds(self) -> int:
        return UNITS[self.unit]

    def __str__(self) -> str:
        return f"{self.count}/{self.unit}"


def read_rate(text: str) -> Rate:
    """Returns the rate of a text such as ``10/minute``, whose form was checked."""
    count, _, unit = text.partition("/")
    return Rate(int(count), unit)


class RateSettings(EnvironmentSettings):
    """Rates as ``10/minute``; None: no limit, which costs nothing."""

    submit_rate_per_user: RateText | None = None  # jobs of one user of an API key
    submit_rate_per_key: RateText | None = None  # jobs of one API key
    failed_auth_rate: RateText | None = None  # calls of one client address that prove no caller

    @functools.cached_property
    def rate_per_user(self) -> Rate | None:
        return read_rate(self.submit_rate_per_user) if self.submit_rate_per_user else None

    @functools.cached_property
    def rate_per_key(self) -> Rate | None:
        return read_rate(self.submit_rate_per_key) if self.submit_rate_per_key else None

    @functools.cached_property
    def rate_of_failures(self) -> Rate | None:
        return read_rate(self.failed_auth_rate) if self.failed_auth_rate else None
