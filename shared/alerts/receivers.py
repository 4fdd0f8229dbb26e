"""Those who are told: each brings a notice to one place, within a deadline, and says how that went."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from shared.alerts.catalogue import runbook_of
from shared.alerts.standing import Notice
from shared.alerts.texts import Told, cut, deployment, headline, in_code, told
from shared.clock import Clock, iso, read_retry_after
from shared.config.settings import Settings
from shared.frozen import dataclass
from shared.log import log
from shared.mailboxes import Mailbox

MAX_SECTION = 3000  # characters (Slack, "Reference: blocks", section)
MAX_CONTENT = 2000  # characters (Discord, "Execute Webhook", content)
MAX_BYTES = 20_000  # of a signed body (Standard Webhooks: "payload size should be kept below 20kb")


@dataclass(frozen=True)
class Sent:
    """Whether the notice has come; if not, why in a word, and the s that the receiver asks to wait."""

    has_come: bool
    why: str = ""
    wait: float = 0.0


class Receiver(Protocol):
    """One place that notices go to."""

    async def send(self, notice: Notice) -> Sent:
        """Brings the notice there; raises nothing but a cancellation."""

    async def close(self) -> None:
        """Closes the connections."""


class Client(Protocol):
    """The part of an ``httpx.AsyncClient`` that is used."""

    def stream(
        self, method: str, url: str, *, content: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Any]: ...

    async def aclose(self) -> None: ...


class Posting:
    """Posts JSON to a URL that is a secret: neither it nor an answer reaches the log."""

    def __init__(self, url: str, settings: Settings, clock: Clock) -> None:
        from shared.egress import Guard, guarded_client

        self._url = url
        self._settings = settings
        self._clock = clock
        self._client: Client = guarded_client(Guard(settings.allow_loopback), settings.hook_timeout)

    async def send(self, notice: Notice) -> Sent:
        """See Receiver. Whoever calls it sets the deadline."""
        from shared.egress import TOO_SLOW, UNREACHABLE, EgressRefused

        body = self.body(notice)
        headers = {"content-type": "application/json", **self.headers(notice, body)}
        try:
            async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                if 200 <= response.status_code < 300:
                    return Sent(has_come=True)
                wait = read_retry_after(response.headers, self._clock.now()) or 0.0
                return Sent(has_come=False, why=f"status {response.status_code}", wait=wait)
        except EgressRefused as refused:
            return Sent(has_come=False, why=refused.reason)
        except TOO_SLOW:
            return Sent(has_come=False, why="timeout")
        except UNREACHABLE as error:
            return Sent(has_come=False, why=type(error).__name__)

    def body(self, notice: Notice) -> bytes:
        """Returns the body of the request."""
        raise NotImplementedError

    def headers(self, notice: Notice, body: bytes) -> Mapping[str, str]:
        """Returns further headers."""
        return {}

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


class Slack(Posting):
    """A channel of Slack, by an incoming webhook (Slack, "Sending messages using incoming webhooks")."""

    def body(self, notice: Notice) -> bytes:
        """A line for the list of channels, and one section for each change."""
        head = _for_slack(headline(notice, self._settings))
        sections = [_section(f"*{head}*"), *(_section(self._shown(change)) for change in self._told(notice))]
        return json.dumps({"text": head, "blocks": sections}).encode()

    def _told(self, notice: Notice) -> list[Told]:
        return told(notice, self._settings, in_code)

    @staticmethod
    def _shown(change: Told) -> str:
        lead = f"*{_for_slack(change.lead)}*\n" if change.lead else ""
        link = f"\n{_for_slack(change.link)}" if change.link else ""
        return lead + cut(_for_slack(change.text), MAX_SECTION - len(lead) - len(link)) + link


def _for_slack(text: str) -> str:
    """Returns text in which nothing is a mention or a link (Slack, "Formatting text for app surfaces")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


class Discord(Posting):
    """A channel of Discord, by a webhook (Discord, "Execute Webhook")."""

    def body(self, notice: Notice) -> bytes:
        """One message, in which nobody is mentioned, whatever it holds."""
        lines = [f"**{headline(notice, self._settings)}**"]
        for change in told(notice, self._settings, in_code):
            lead = f"**{change.lead}**" if change.lead else ""
            lines.append("\n".join(filter(None, (lead, change.text, self._link(change)))))
        content = cut("\n".join(lines), MAX_CONTENT)
        return json.dumps({"content": content, "allowed_mentions": {"parse": []}}).encode()

    @staticmethod
    def _link(change: Told) -> str:
        return f"<{change.link}>" if change.link.startswith("https://") else change.link


class SignedWebhook(Posting):
    """An endpoint of the operator: JSON, signed as Standard Webhooks."""

    def body(self, notice: Notice) -> bytes:
        """All changes as they are kept; those that are too much for one body are left out, and counted."""
        changes = [
            {**change, "since": iso(change["since"]), "runbook": runbook_of(change["name"], self._settings)}
            for change in notice["changes"]
        ]
        left_out = 0
        while True:
            data = {"deployment": deployment(self._settings), "changes": changes, "left_out": left_out}
            body = json.dumps({"type": "alerts.changed", "timestamp": iso(notice["at"]), "data": data}).encode()
            if len(body) <= MAX_BYTES or not changes:
                return body
            changes, left_out = changes[:-1], left_out + 1

    def headers(self, notice: Notice, body: bytes) -> Mapping[str, str]:
        """The same id at each try, a new timestamp, and a signature."""
        from shared.signing.webhooks import sign

        stamp = self._clock.now() // 1000
        return {
            "webhook-id": notice["id"],
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(webhook_secret(self._settings), notice["id"], stamp, body),
        }


def webhook_secret(settings: Settings) -> str:
    """Returns the secret that signs what goes to ALERT_WEBHOOK_URL; derived from SIGNING_SECRET."""
    from shared.signing.derived import alert_secret

    return alert_secret(settings.signing_key)


class MailTo:
    """One mailbox of ALERT_EMAIL."""

    def __init__(self, settings: Settings, mailbox: Mailbox) -> None:
        from shared.mail.opening import open_mailer

        self._settings = settings
        self._mailbox = mailbox
        self._mailer = open_mailer(settings)

    async def send(self, notice: Notice) -> Sent:
        """See Receiver. A later try has the same id, so a service that knows it sends nothing twice."""
        from shared.mail.errors import MailRefused, MailUnavailable, MailUncertain
        from shared.mail.message import Mail
        from shared.mail.texts import notice_mail

        if self._mailer is None:
            return Sent(has_come=False, why="no_mail")
        subject = headline(notice, self._settings)
        written = notice_mail(subject, [(t.lead, t.text, t.link) for t in told(notice, self._settings, str)])
        whose = hashlib.sha256(self._mailbox.identity.encode()).hexdigest()[:8]
        mail = Mail(f"{notice['id']}.{whose}", self._mailbox, written.subject, written.text, written.html)
        try:
            await self._mailer.send(mail)
        except MailUncertain:
            pass  # it may arrive; a further one would be one too many
        except (MailRefused, MailUnavailable) as error:
            return Sent(has_come=False, why=error.code)
        return Sent(has_come=True)

    async def close(self) -> None:
        """Closes the connections."""
        if self._mailer is not None:
            await self._mailer.close()


class Log:
    """The log, one line for each change."""

    async def send(self, notice: Notice) -> Sent:
        """See Receiver."""
        for change in notice["changes"]:
            said = {"change": change["word"], "alert": change["key"], "text": change["text"], "about": change["names"]}
            if change["word"] == "recovered":
                log.info("alert", **said)
            else:
                log.error("alert", **said)
        return Sent(has_come=True)

    async def close(self) -> None:
        """Does nothing."""


def receivers(settings: Settings, clock: Clock) -> dict[str, Receiver]:
    """Returns those that the settings name; a mailbox goes by its address."""
    found: dict[str, Receiver] = {}
    urls = {
        "slack": (settings.slack_webhook_url, Slack),
        "discord": (settings.discord_webhook_url, Discord),
        "webhook": (settings.alert_webhook_url, SignedWebhook),
    }
    for name, (url, kind) in urls.items():
        if url is not None:
            found[name] = kind(url.get_secret_value(), settings, clock)
    for mailbox in settings.alert_mailboxes:
        found[mailbox.identity] = MailTo(settings, mailbox)
    if settings.alert_log:
        found["log"] = Log()
    return found


async def sent_within(receiver: Receiver, notice: Notice, seconds: float) -> Sent:
    """Sends, and gives up at the deadline: a receiver that hangs or raises harms no other."""
    try:
        async with asyncio.timeout(seconds):
            return await receiver.send(notice)
    except TimeoutError:
        return Sent(has_come=False, why="timeout")
    except Exception as error:  # mutant: receiver that raises
        return Sent(has_come=False, why=type(error).__name__)
