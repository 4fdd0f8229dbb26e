"""Mails through SMTP, one connection each: a function may be frozen before it needs the next one.

connect, TLS, login ──▶ MAIL ──▶ RCPT ──▶ DATA and the mail ──▶ 250
|-- a failure proves that nothing was sent --|-- no answer --|
                                               it may arrive
"""

import asyncio
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate

import aiosmtplib

from shared.config.mail import Sender, SmtpServer
from shared.log import log
from shared.mail.errors import MailDeferred, MailRefused, MailUnavailable, MailUncertain
from shared.mail.message import Mail
from shared.tls import tls_context

TIMEOUT = 10.0  # s for all of it
QUIT_TIMEOUT = 1.0  # s; the mail is the server's by then
# RFC 5321, section 4.2.3; any other code is the server's own trouble
NO_MAILBOX = (550, 551, 553)
BUSY_MAILBOX = (450, 452, 552)
FAILURES = (aiosmtplib.SMTPException, OSError, ValueError)  # TimeoutError is an OSError, and so are those of TLS


class SmtpMailer:
    """Sends through one server, with TLS from the first byte or by STARTTLS unless the server is on this machine."""

    def __init__(self, server: SmtpServer, sender: Sender, timeout: float = TIMEOUT) -> None:
        self._server = server
        self._sender = sender
        self._timeout = timeout

    async def send(self, mail: Mail) -> None:
        """Hands the mail over; see Mailer."""
        s = self._server
        client = aiosmtplib.SMTP(
            hostname=s.host, port=s.port, timeout=self._timeout, use_tls=s.is_tls, start_tls=s.is_starttls,
            local_hostname=self._sender.mailbox.domain, tls_context=tls_context() if s.is_encrypted else None,
        )  # fmt: skip
        until = asyncio.get_running_loop().time() + self._timeout
        try:
            await self._prepare(client, mail, until)
            await self._hand_over(client, mail, until)
            with suppress(*FAILURES):
                await client.quit(timeout=QUIT_TIMEOUT)
        finally:
            client.close()

    async def _prepare(self, client: aiosmtplib.SMTP, mail: Mail, until: float) -> None:
        """Comes as far as the server's yes to the recipient."""
        s = self._server
        try:
            async with asyncio.timeout_at(until):
                await client.connect()
                if s.user:
                    await client.login(s.user, s.password)
                await client.mail(self._sender.mailbox.address)
                await client.rcpt(mail.to.address)
        except aiosmtplib.SMTPRecipientRefused as error:
            cause = self._report(error)
            if error.code in NO_MAILBOX:
                raise MailRefused().because(cause) from None
            kind = MailDeferred if error.code in BUSY_MAILBOX else MailUnavailable  # mutant: busy mailbox
            raise kind().because(cause) from None
        except FAILURES as error:
            raise MailUnavailable().because(self._report(error)) from None

    async def _hand_over(self, client: aiosmtplib.SMTP, mail: Mail, until: float) -> None:
        message = self._message(mail)
        try:
            async with asyncio.timeout_at(until):
                await client.data(message)
        except aiosmtplib.SMTPResponseException as error:
            raise MailUnavailable().because(self._report(error)) from None
        except FAILURES as error:
            raise MailUncertain().because(self._report(error)) from None  # mutant: no answer to a mail

    def _report(self, error: Exception) -> str:
        """Logs and returns why; a server's own words may hold the address, so they are left out."""
        reason, status, host = type(error).__name__, getattr(error, "code", None), self._server.host
        log.error("mail_failed", through="smtp", host=host, reason=reason, status=status)
        return f"{host}: {reason}" + (f" {status}" if status else "")

    def _message(self, mail: Mail) -> bytes:
        message = EmailMessage(policy=SMTP_POLICY)
        message["From"] = self._sender.header
        message["To"] = mail.to.address
        message["Subject"] = mail.subject
        message["Date"] = formatdate(usegmt=True)
        message["Message-ID"] = f"<{mail.id}@{self._sender.mailbox.domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notice answers it
        message.set_content(mail.text, cte="base64")
        message.add_alternative(mail.html, subtype="html", cte="base64")
        return message.as_bytes()

    async def close(self) -> None:
        """Does nothing: no connection is kept."""
