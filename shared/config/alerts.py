"""Who is told that something is wrong, and from which bounds on."""

import functools
from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field, SecretStr

from shared.config.hooks import HookSettings, is_deliverable
from shared.config.mail import MailSettings
from shared.config.quantities import has_repeated_name
from shared.config.timing import TimingSettings
from shared.mailboxes import Mailbox, read_mailbox

AlertName = Literal[
    "schedule_silent", "jobs_not_started", "oldest_wait", "dead_letters", "provider_refuses", "circuit_open",
    "webhooks_refused", "submissions_unknown", "copy_overdue", "hooks_failing", "slots_healed", "store_slow",
    "failure_rate", "commands_near_end",
]  # fmt: skip
# From which value on an alert fires; docs/runbook.md has each with its unit.
THRESHOLDS: Mapping[AlertName, float] = {
    "schedule_silent": 600,  # s; at least three periods of the schedule
    "jobs_not_started": 300,  # s; as above
    "oldest_wait": 3600,  # s
    "dead_letters": 10,  # in an hour
    "provider_refuses": 300,  # s; a refused account fires at once
    "circuit_open": 300,  # s
    "webhooks_refused": 1,  # there is nothing to count
    "submissions_unknown": 25,  # percent of MAX_CONCURRENT_TASKS
    "copy_overdue": 1800,  # s after the job's end
    "hooks_failing": 8,  # failures of a host in a row, or events given up in an hour
    "slots_healed": 3,  # in an hour
    "store_slow": 1000,  # ms
    "failure_rate": 50,  # percent of a model's ends in the last hour, of ten or more
    "commands_near_end": 80,  # percent of COMMANDS_QUOTA
}
OF_SCHEDULE: tuple[AlertName, ...] = ("schedule_silent", "jobs_not_started")
MAX_MAILBOXES = 5
THRESHOLD_LIST = r"^([a-z_]+:([0-9]{1,7}([.][0-9]{1,3})?|off)( *, *|$))*$"


class AlertSettings(HookSettings, MailSettings, TimingSettings):
    """The receivers of alerts. Without one nothing is looked at, and nothing is sent."""

    slack_webhook_url: SecretStr | None = None
    discord_webhook_url: SecretStr | None = None
    alert_webhook_url: SecretStr | None = None  # gets JSON, signed as Standard Webhooks
    alert_email: str = Field("", max_length=1000)  # addresses, separated by commas
    alert_log: bool = False  # each change as a line of the log
    alert_thresholds: str = Field("", pattern=THRESHOLD_LIST)  # alert:number, or alert:off
    alert_period: float = Field(120.0, ge=60, le=86_400, allow_inf_nan=False)  # s between two looks, of all processes
    alert_runbook_url: str | None = None  # where your copy of docs/runbook.md is

    @property
    def has_alerts(self) -> bool:
        """Whether anyone is told."""
        urls = (self.slack_webhook_url, self.discord_webhook_url, self.alert_webhook_url)
        return any(urls) or bool(self.alert_email) or self.alert_log

    @property
    def alert_gap(self) -> float:
        """The s at least between two looks: ticks jitter, and one that is early must not cost a whole period."""
        return max(self.alert_period / 2, self.alert_period - self.tick_period / 2)

    @functools.cached_property
    def alert_mailboxes(self) -> tuple[Mailbox, ...]:
        """The addresses of ALERT_EMAIL. Raises ValueError for what is no address."""
        return tuple(read_mailbox(part.strip()) for part in self.alert_email.split(",") if part.strip())

    @functools.cached_property
    def thresholds(self) -> dict[AlertName, float]:
        """From which value on each alert fires; without those that are off."""
        least = self.late_tick_after
        bounds = {name: max(value, least) if name in OF_SCHEDULE else value for name, value in THRESHOLDS.items()}
        given = {name: value for name, _, value in self._given_thresholds()}
        bounds |= {name: float(given[name]) for name in bounds if given.get(name, "off") != "off"}
        return {name: value for name, value in bounds.items() if given.get(name) != "off"}

    def _given_thresholds(self) -> list[tuple[str, str, str]]:
        return [part.strip().partition(":") for part in self.alert_thresholds.split(",") if part.strip()]

    def faults(self) -> list[str]:
        problems = []
        for name in ("slack_webhook_url", "discord_webhook_url", "alert_webhook_url"):
            url: SecretStr | None = getattr(self, name)
            if url is not None and not is_deliverable(url.get_secret_value(), allow_loopback=self.allow_loopback):
                problems.append(f"{name.upper()} must be https, of a host by its name, without port and credentials")
        problems += self._faults_of_mail()
        if unknown := sorted({name for name, _, _ in self._given_thresholds()} - set(get_args(AlertName))):
            problems.append(f"ALERT_THRESHOLDS names {', '.join(unknown)}, and there is no such alert")
        if zero := sorted(name for name, _, value in self._given_thresholds() if value != "off" and not float(value)):
            problems.append(f"ALERT_THRESHOLDS has 0 for {', '.join(zero)}, which always stands; write off, or more")
        if self.alert_thresholds and has_repeated_name(self.alert_thresholds):
            problems.append("ALERT_THRESHOLDS names an alert twice")
        return [*problems, *self._unreachable("alert_runbook_url"), *super().faults()]

    def _faults_of_mail(self) -> list[str]:
        try:
            count = len(self.alert_mailboxes)
        except ValueError:
            return ["ALERT_EMAIL must be e-mail addresses, separated by commas"]
        if count > MAX_MAILBOXES:
            return [f"ALERT_EMAIL may have {MAX_MAILBOXES} addresses"]
        if count and not (self.smtp_url or self.resend_api_key):
            return ["ALERT_EMAIL needs a way for mails: SMTP_URL or RESEND_API_KEY"]
        return []
