"""Ends of jobs as mails: a hook whose URL is ``mailto:`` is a mailbox of the user, and gets no JSON.

    mailto:ada@example.com?language=zh ──▶ a lane of its owner for all mails ──▶ SMTP or Resend

So a mail is tried, delayed, logged and given up as any event of the outbox is; see delivery.py.
"""

import asyncio
import json
from dataclasses import field
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.config.settings import Settings
from shared.errors import InvalidRequest
from shared.frozen import dataclass
from shared.mail.errors import MailRefused, MailUnavailable, MailUncertain
from shared.mail.message import Mail, Mailer
from shared.mail.opening import open_mailer
from shared.mail.texts import Language, end_mail
from shared.mailboxes import Mailbox, read_mailbox

SENT = 250  # in place of an HTTP status
LANGUAGES: dict[str, Language] = {"en": "en", "zh": "zh"}
MAX_TITLE, MAX_LINK = 100, 500  # characters of what a mail takes from metadata
FORM = "must be mailto: and an address, with nothing more than ?language=en or zh"


@dataclass(frozen=True)
class Destination:
    """Whom the mails go to, and in which language."""

    to: Mailbox = field(repr=False)
    language: Language


def destination_of(url: str) -> Destination:
    """Returns the mailbox and the language of a hook's URL; raises ValueError, whose message holds nothing of it."""
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:  # its message quotes the URL
        raise ValueError(FORM) from None
    language = LANGUAGES.get(dict(options).get("language", "en"))
    if parts.netloc or parts.fragment or language is None or [name for name, _ in options] not in ([], ["language"]):
        raise ValueError(FORM)
    return Destination(read_mailbox(unquote(parts.path)), language)


def check_mailbox(url: str, settings: Settings) -> None:
    """Raises InvalidRequest unless this deployment would send mails to the hook's URL."""
    try:
        destination = destination_of(url)
    except ValueError as error:
        raise InvalidRequest(str(error), field="hook_url") from None
    if settings.sender is None or not (settings.smtp_url or settings.resend_api_key):
        raise InvalidRequest("must be an https URL: this deployment sends no mail", field="hook_url")
    if _is_blocked(destination, settings):
        raise InvalidRequest("must not name an address that is blocked", field="hook_url")


def _is_blocked(destination: Destination, settings: Settings) -> bool:
    return not settings.blocked_names.isdisjoint(destination.to.names)


class Mailing:
    """Sends the mails of a deployment's events. Belongs to one event loop; the mailer is opened at the first mail."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: Mailer | None = None

    async def send(self, event_id: str, event: str, url: str, metadata: str) -> tuple[int | None, str | None]:
        """Returns SENT and no error, or the error's word. ``metadata`` is JSON."""
        try:
            destination = destination_of(url)
        except ValueError:  # an earlier release took it
            return None, "mail_refused"
        if _is_blocked(destination, self._settings):
            return None, "mail_refused"
        if self._opened is None:
            self._opened = open_mailer(self._settings)
        if self._opened is None:
            return None, "mail_unavailable"  # until a deploy with the settings of mail
        title, link = _shown(metadata)
        written = end_mail(destination.language, event, title, link)
        mail = Mail(event_id, destination.to, written.subject, written.text, written.html)
        try:
            async with asyncio.timeout(self._settings.hook_timeout):
                await self._opened.send(mail)
        except (MailRefused, MailUnavailable, MailUncertain) as error:
            return None, error.code
        except TimeoutError:
            return None, MailUncertain.code
        return SENT, None

    async def close(self) -> None:
        """Closes the connections."""
        if self._opened is not None:
            await self._opened.close()


def _shown(metadata: str) -> tuple[str, str]:
    """Returns the title and the https link that a job's metadata has for its mail; '' for each that it lacks."""
    try:
        given = json.loads(metadata or "{}")
    except ValueError:
        return "", ""
    if not isinstance(given, dict):
        return "", ""
    title, link = str(given.get("title", "")), str(given.get("link", ""))
    # mutant: link of a mail
    is_link = link.startswith("https://") and link.isascii() and link.isprintable() and " " not in link
    return " ".join(title.split())[:MAX_TITLE], link if is_link and len(link) <= MAX_LINK else ""
