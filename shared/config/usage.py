"""Whether a deployment counts the commands that its store bills."""

from pydantic import Field

from shared.config.environment import EnvironmentSettings


class UsageSettings(EnvironmentSettings):
    """The own count of billed commands; see shared/usage/counting.py."""

    count_commands: bool = False
    commands_quota: int | None = Field(None, ge=1, le=10**15)  # of a month; Upstash's free plan has 500,000

    def faults(self) -> list[str]:
        problems = []
        if self.commands_quota is not None and not self.count_commands:
            problems.append("COMMANDS_QUOTA is compared with what is counted: set COUNT_COMMANDS=true too")
        return problems + super().faults()
