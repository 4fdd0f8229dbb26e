"""A mail: whom it is for, and its text in two forms."""

from dataclasses import field
from typing import Protocol

from shared.frozen import dataclass
from shared.mailboxes import Mailbox


@dataclass(frozen=True)
class Mail:
    """One mail to one mailbox. ``id`` is the same at each try, so that a service can recognise a repeat."""

    id: str
    to: Mailbox
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)


class Mailer(Protocol):
    """A way that mails go."""

    async def send(self, mail: Mail) -> None:
        """Hands the mail over. Raises MailRefused or MailUnavailable (surely not sent), or MailUncertain.

        MailDeferred, a MailUnavailable, is about the mailbox alone.
        """

    async def close(self) -> None:
        """Closes the connections."""
