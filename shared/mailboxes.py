"""What an e-mail address is like: its form, its domain in ASCII, and the names that may stand for it in a list.

RFC 5321, section 4.1.2, without quoted local parts, addresses of hosts, and local parts beyond ASCII.
"""

import re

from shared.addresses import is_public_name
from shared.frozen import dataclass

MAX_ADDRESS, MAX_LOCAL = 254, 64  # characters; RFC 5321, section 4.5.3.1, and erratum 1690 of RFC 3696
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
LOCAL = re.compile(rf"{ATOM}(\.{ATOM})*")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
MAILTO = "mailto"  # the scheme of a URL that names a mailbox (RFC 6068)
FORM = "must be an e-mail address: a name, @ and a domain"


@dataclass(frozen=True)
class Mailbox:
    """An address as mail is sent to it. Its local part is as it was given: only its server knows what case means."""

    local: str
    domain: str

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def identity(self) -> str:
        """The address by which limits, codes and lists know the mailbox: in lower case."""
        return self.address.lower()

    @property
    def names(self) -> list[str]:
        """What a list of addresses and domains may have for this mailbox: itself, without a +tag, and its domains."""
        labels = self.domain.split(".")
        domains = [".".join(labels[first:]) for first in range(len(labels) - 1)]
        untagged = f"{self.local.lower().partition('+')[0]}@{self.domain}"
        return list(dict.fromkeys([self.identity, untagged, *domains]))


def is_mailto(url: str) -> bool:
    """Whether a URL names a mailbox."""
    return url.lower().startswith(f"{MAILTO}:")


def read_mailbox(text: str) -> Mailbox:
    """Returns the mailbox of an address; raises ValueError, whose message holds nothing of it."""
    local, at, domain = text.rpartition("@")
    if not at or not LOCAL.fullmatch(local) or len(local) > MAX_LOCAL:
        raise ValueError(FORM)
    mailbox = Mailbox(local, read_domain(domain))
    if len(mailbox.address) > MAX_ADDRESS:
        raise ValueError(FORM)
    return mailbox


def read_domain(text: str) -> str:
    """Returns a domain in lower case and ASCII; raises ValueError, whose message holds nothing of it."""
    domain = text.lower()
    if not domain.isascii():
        import idna

        try:
            domain = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError:  # a ValueError too, whose message quotes the text
            raise ValueError(FORM) from None
    if not is_public_name(domain) or not all(LABEL.fullmatch(label) for label in domain.split(".")):
        raise ValueError(FORM)
    return domain


def read_entry(text: str) -> str:
    """Returns an entry of a list of addresses and domains, as Mailbox.names has it; raises ValueError.

    A domain stands for all addresses in it and in its subdomains.
    """
    entry = text.strip()
    if "@" in entry.removeprefix("@"):
        return read_mailbox(entry).identity
    return read_domain(entry.removeprefix("@"))
