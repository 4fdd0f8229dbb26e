"""Mails through Resend's HTTP API (Resend, "Send Email", "Idempotency Keys", "Errors").

A lost answer is asked for once more under the same Idempotency-Key, which Resend knows for a day: it sends one mail.
"""

import asyncio

import httpx
from pydantic import SecretStr

from shared.config.mail import Sender
from shared.log import log
from shared.mail.errors import MailDeferred, MailUnavailable, MailUncertain
from shared.mail.message import Mail
from shared.tls import tls_context

HOST = "api.resend.com"
URL = f"https://{HOST}/emails"
TIMEOUT = 10.0  # s for both tries
TRY_TIMEOUT = 4.5  # s
# Something in the mail is wrong. It may be the sender, so the recipient is not refused for good; and it may be the
# recipient, so other mails do not wait.
BAD_MAIL = (400, 422)
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
REPEATED = "concurrent_idempotent_requests"  # 409: the first try is still at work


class ResendMailer:
    """Sends through one account of Resend. Belongs to one event loop; its client is built at the first mail."""

    def __init__(self, key: SecretStr, sender: Sender) -> None:
        self._key = key
        self._sender = sender
        self._opened: httpx.AsyncClient | None = None

    async def send(self, mail: Mail) -> None:
        """Hands the mail over; see Mailer. Resend's answers do not say that a recipient is unknown."""
        try:
            async with asyncio.timeout(TIMEOUT):
                if not await self._try(mail, is_first=True):
                    await self._try(mail, is_first=False)  # mutant: one repeat of a mail
        except TimeoutError:
            raise MailUncertain().because(_report("timeout", None)) from None

    async def _try(self, mail: Mail, *, is_first: bool) -> bool:
        """Returns True once Resend has the mail, and False if a second try may tell."""
        body = {
            "from": self._sender.header,
            "to": [mail.to.address],
            "subject": mail.subject,
            "text": mail.text,
            "html": mail.html,
            "headers": {"Auto-Submitted": "auto-generated"},
        }
        try:
            answer = await self._client.post(URL, json=body, headers={"Idempotency-Key": mail.id})
        except NEVER_SENT as error:
            cause = _report(type(error).__name__, None)
            raise (MailUnavailable if is_first else MailUncertain)().because(cause) from None
        except httpx.HTTPError as error:
            return self._lost(type(error).__name__, None, is_first)
        if answer.is_success:
            return True
        reason = _name_of(answer)
        if answer.status_code >= 500 or reason == REPEATED:
            return self._lost(reason, answer.status_code, is_first)
        cause = _report(reason, answer.status_code)
        # A refusal of the repeat says nothing of the first try.
        if not is_first:
            raise MailUncertain().because(cause)
        raise (MailDeferred if answer.status_code in BAD_MAIL else MailUnavailable)().because(cause)

    @staticmethod
    def _lost(reason: str, status: int | None, is_first: bool) -> bool:
        if is_first:
            return False
        raise MailUncertain().because(_report(reason, status))

    @property
    def _client(self) -> httpx.AsyncClient:
        if self._opened is None:
            self._opened = httpx.AsyncClient(
                headers={"Authorization": f"Bearer {self._key.get_secret_value()}", "User-Agent": "Sluice"},
                timeout=httpx.Timeout(TRY_TIMEOUT),
                follow_redirects=False,
                verify=tls_context(),
            )
        return self._opened

    async def close(self) -> None:
        """Closes the connections."""
        if self._opened is not None:
            await self._opened.aclose()


def _name_of(answer: httpx.Response) -> str:
    """Returns the error's name, such as ``daily_quota_exceeded``; its message may hold the address."""
    try:
        name = answer.json()["name"]
    except (ValueError, KeyError, TypeError):
        return ""
    return name[:64] if isinstance(name, str) else ""


def _report(reason: str, status: int | None) -> str:
    """Logs and returns why."""
    log.error("mail_failed", through="resend", host=HOST, reason=reason, status=status)
    return f"{HOST}: {reason}" + (f" {status}" if status else "")
