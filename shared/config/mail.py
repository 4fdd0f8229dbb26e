"""How a deployment sends mail, and who gets no verification code."""

import functools
from dataclasses import field
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr

from shared.addresses import LOOPBACK
from shared.config.credentials import text_of
from shared.config.environment import EnvironmentSettings
from shared.config.rates import Rate, RateOrOff, read_rate
from shared.frozen import dataclass
from shared.mailboxes import Mailbox, read_entry, read_mailbox

PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True)
class SmtpServer:
    """Where SMTP_URL leads. ``is_tls``: from the first byte; ``is_starttls``: before anything is said."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    is_tls: bool = False
    is_starttls: bool = True

    @property
    def is_encrypted(self) -> bool:
        return self.is_tls or self.is_starttls


@dataclass(frozen=True)
class Sender:
    """MAIL_FROM: a mailbox, and the name that readers see; '' for none."""

    name: str
    mailbox: Mailbox

    @property
    def header(self) -> str:
        from email.utils import formataddr

        return formataddr((self.name, self.mailbox.address))


class MailSettings(EnvironmentSettings):
    """The mail server or service, the sender, and the bounds of verification codes."""

    # smtp://user:password@host:587 with STARTTLS, smtps://user:password@host:465 with TLS
    smtp_url: SecretStr | None = None
    resend_api_key: SecretStr | None = None  # used unless SMTP_URL is set
    mail_from: str | None = Field(None, max_length=500)  # Acme <no-reply@acme.dev>
    verification_blocked: str = ""  # addresses and domains that get no code, separated by commas
    verification_client_rate: RateOrOff = "60/hour"  # sends and checks of one client address

    @functools.cached_property
    def smtp_server(self) -> SmtpServer | None:
        """The server of SMTP_URL. Raises ValueError for an address that cannot be read."""
        if self.smtp_url is None:
            return None
        parts = urlsplit(text_of(self.smtp_url))
        if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("must be smtp://user:password@host:port, or smtps:// for TLS from the first byte")
        return SmtpServer(
            parts.hostname,
            parts.port or PORTS[parts.scheme],
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            is_tls=parts.scheme == "smtps",
            # Only this machine may get a code without encryption.
            is_starttls=parts.scheme == "smtp" and parts.hostname not in LOOPBACK,
        )

    @functools.cached_property
    def sender(self) -> Sender | None:
        """MAIL_FROM as it is used. Raises ValueError for what is no address."""
        from email.utils import getaddresses

        if self.mail_from is None:
            return None
        found = getaddresses([self.mail_from])
        if len(found) != 1 or not self.mail_from.isprintable():
            raise ValueError("must be one address, such as Acme <no-reply@acme.dev>")
        ((name, address),) = found
        return Sender(name, read_mailbox(address))

    @functools.cached_property
    def rate_of_clients(self) -> Rate | None:
        """VERIFICATION_CLIENT_RATE; None for no limit."""
        text = self.verification_client_rate
        return None if text == "off" else read_rate(text)

    @functools.cached_property
    def blocked_names(self) -> frozenset[str]:
        """The entries of VERIFICATION_BLOCKED. Raises ValueError for one that is neither an address nor a domain."""
        return frozenset(read_entry(entry) for entry in self.verification_blocked.split(",") if entry.strip())

    def faults(self) -> list[str]:
        problems = []
        for name in ("smtp_server", "sender", "blocked_names"):
            try:
                getattr(self, name)
            except ValueError as error:  # urlsplit's own would quote the address
                known = {"smtp_server": "SMTP_URL", "sender": "MAIL_FROM", "blocked_names": "VERIFICATION_BLOCKED"}
                shown = str(error) if str(error).startswith("must be") else "is no address that can be read"
                problems.append(f"{known[name]} {shown}")
        if (self.smtp_url or self.resend_api_key) and self.mail_from is None:
            problems.append("MAIL_FROM is missing: a mail needs a sender")
        return [*problems, *super().faults()]
