"""Which environment a deployment is, and what every group of settings builds on."""

import os
from typing import Any, Literal

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.config.addresses import fault_of_address
from shared.config.credentials import IN_QUOTES, MIN_FOREIGN_SECRET, WITHHELD, fault_of_form, fault_of_secret, is_quoted

Environment = Literal["development", "test", "preview", "production"]


class EnvironmentSettings(BaseSettings):
    """The base of each group of settings. Field names are the environment variables' names in lower case.

    A group extends ``faults()`` with the checks of its fields, and inherits from the groups whose fields it reads.
    """

    # Pydantic builds a class's validator only when it is used: a cold start needs the one of Settings and no other.
    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        env_ignore_empty=True,
        populate_by_name=True,
        defer_build=True,
    )

    # Not named `environment`: pydantic-settings would take a variable of that name, which many platforms set.
    sluice_env: Environment = "production"

    @property
    def environment(self) -> Environment:
        return self.sluice_env

    @property
    def is_development(self) -> bool:
        return self.sluice_env in ("development", "test")

    def faults(self) -> list[str]:
        """What keeps the deployment from starting: one sentence each, with the setting's name and never its value."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        secrets = {name: value.get_secret_value() for name, value in values.items() if isinstance(value, SecretStr)}
        problems = [f"{name.upper()} {fault}" for name, text in secrets.items() if (fault := fault_of_form(text))]
        if not self.is_development:
            short = [name for name, text in secrets.items() if len(text) < MIN_FOREIGN_SECRET]
            problems += [f"{name.upper()} has fewer than {MIN_FOREIGN_SECRET} characters" for name in short]
        if self.is_development and is_on_a_platform() and os.environ.get("VERCEL_ENV") != "development":
            problems.append("SLUICE_ENV is development or test, whose known secrets must not run on Vercel or Lambda")
        return problems

    def _absent(self, *names: str) -> list[str]:
        """Which of these settings a deployment lacks or has left at a placeholder; development needs none of them."""
        if self.is_development:
            return []
        return [
            f"{name.upper()} {fault}"
            for name in names
            if not is_withheld(name) and (fault := fault_of_secret(getattr(self, name)))
        ]

    def placeholders(self) -> list[str]:
        """Which secrets are placeholders, as development may leave them."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return [
            name.upper() for name, value in values.items() if isinstance(value, SecretStr) and fault_of_secret(value)
        ]

    def _unreachable(self, *names: str) -> list[str]:
        """Which of these settings hold something that is not the address of a service."""
        given = {name: getattr(self, name) for name in names if getattr(self, name)}
        found = {name: fault_of_address(url, may_be_plain=self.is_development) for name, url in given.items()}
        return [f"{name.upper()} {fault}" for name, fault in found.items() if fault]

    @model_validator(mode="before")
    @classmethod
    def _strip(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Removes the blanks and newlines that pasting and ``echo`` leave around a text, and refuses quotes there."""
        stripped = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
        if quoted := [name.upper() for name, value in stripped.items() if isinstance(value, str) and is_quoted(value)]:
            raise ValueError("\n".join(f"{name} {IN_QUOTES}" for name in quoted))
        return {name: value for name, value in stripped.items() if not (value == WITHHELD and is_withheld(name))}


def is_withheld(name: str) -> bool:
    """Whether this Lambda function does not get the setting on purpose: serverless.yml gives each its own secrets."""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ and os.environ.get(name.upper()) == WITHHELD


def is_on_a_platform() -> bool:
    """Whether this process is a function of Vercel or AWS Lambda."""
    return bool(os.environ.get("VERCEL") or os.environ.get("AWS_LAMBDA_FUNCTION_NAME"))
