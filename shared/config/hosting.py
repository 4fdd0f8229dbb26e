"""What depends on where the functions run."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared.config.environment import EnvironmentSettings

BYPASS = "x-vercel-protection-bypass"  # Vercel, "Protection Bypass for Automation": header or query parameter


class HostingSettings(EnvironmentSettings):
    """How the deployment is reached, and what its platform allows."""

    public_base_url: str | None = None
    # Set by Vercel where deployments are protected; without it their providers' webhooks get 401
    vercel_automation_bypass_secret: SecretStr | None = None
    dispatch_on_submit: bool = True
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def bypass_query(self) -> dict[str, str]:
        """What the URL of a webhook must carry to pass Vercel's protection."""
        secret = self.vercel_automation_bypass_secret
        return {BYPASS: secret.get_secret_value()} if secret else {}

    def location(self, path: str) -> str:
        """Returns this path as callers reach it: PUBLIC_BASE_URL may have a path, as with a named stage on AWS."""
        return f"{urlsplit(self.public_base_url or '').path.rstrip('/')}{path}"

    def faults(self) -> list[str]:
        return [*self._unreachable("public_base_url"), *super().faults()]
