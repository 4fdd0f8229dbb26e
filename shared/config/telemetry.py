"""Where errors and spans are sent, beside the log."""

import os
import re

from pydantic import SecretStr

from shared.config.credentials import text_of
from shared.config.environment import EnvironmentSettings

DSN = re.compile(r"https?://[^/@:\s]+(:[^/@\s]*)?@[^/@\s]+(/[^\s]*)?/[0-9]+")


class TelemetrySettings(EnvironmentSettings):
    """Sentry's address, and the release that reports name."""

    sentry_dsn: SecretStr | None = None  # https://key@host/project
    sentry_release: str = ""

    @property
    def release(self) -> str:
        """SENTRY_RELEASE, or the commit that Vercel has deployed; '' if neither is known."""
        return self.sentry_release or os.environ.get("VERCEL_GIT_COMMIT_SHA", "")

    def faults(self) -> list[str]:
        problems = []
        if self.sentry_dsn is not None and not DSN.fullmatch(text_of(self.sentry_dsn)):
            problems.append("SENTRY_DSN must be https://key@host/project, as Sentry shows it")
        return [*problems, *super().faults()]
