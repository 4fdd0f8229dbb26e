"""What depends on where the functions run."""

import os

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

BYPASS = "x-vercel-protection-bypass"  # Vercel, "Protection Bypass for Automation": header or query parameter


class HostingSettings(BaseSettings):
    """Part of Settings; see there."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True, populate_by_name=True
    )

    # Set by Vercel where deployments are protected; without it their providers' webhooks get 401
    vercel_automation_bypass_secret: SecretStr | None = None
    tick_second_pass: float = Field(0.0, ge=0, le=50)  # s after its start that a tick looks once more; 0: never

    @property
    def bypass_query(self) -> dict[str, str]:
        """What a URL of ours must carry to pass Vercel's protection."""
        secret = self.vercel_automation_bypass_secret
        return {BYPASS: secret.get_secret_value()} if secret else {}


def on_a_platform() -> bool:
    """Whether this process is a function of Vercel or AWS Lambda."""
    return bool(os.environ.get("VERCEL") or os.environ.get("AWS_LAMBDA_FUNCTION_NAME"))
