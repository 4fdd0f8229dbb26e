"""Every setting of a deployment, read once from the environment, checked before anything starts."""

from typing import Self

from pydantic import model_validator
from pydantic_settings import SettingsConfigDict

from shared.config.alerts import AlertSettings
from shared.config.browsers import BrowserSettings
from shared.config.hooks import HookSettings
from shared.config.mail import MailSettings
from shared.config.order import OrderSettings
from shared.config.providers import ProviderSettings
from shared.config.qstash import QStashSettings
from shared.config.rates import RateSettings
from shared.config.shares import ShareSettings
from shared.config.spending import SpendingSettings
from shared.config.statistics import StatisticsSettings
from shared.config.storage import StorageSettings
from shared.config.store import StoreSettings
from shared.config.telemetry import TelemetrySettings
from shared.config.tokens import TokenSettings
from shared.config.usage import UsageSettings


class Settings(
    StoreSettings,
    AlertSettings,
    HookSettings,
    TokenSettings,
    ProviderSettings,
    ShareSettings,
    OrderSettings,
    StorageSettings,
    QStashSettings,
    MailSettings,
    BrowserSettings,
    RateSettings,
    SpendingSettings,
    StatisticsSettings,
    UsageSettings,
    TelemetrySettings,
):
    """The configuration of one deployment; also holds what its groups inherit: access, hosting, queues, limits, timing.

    Raises ValidationError, whose message names each setting at fault and no value.
    """

    model_config = SettingsConfigDict(defer_build=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if problems := self.faults():
            raise ValueError("\n".join(problems))
        return self
