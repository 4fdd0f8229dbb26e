"""What the address of another service must be like, whichever setting holds it."""

from urllib.parse import urlsplit

from shared.addresses import LOOPBACK
from shared.config.credentials import IN_QUOTES, is_quoted


def is_loopback_url(url: str) -> bool:
    """Whether the URL names this machine."""
    try:
        return urlsplit(url).hostname in LOOPBACK
    except ValueError:
        return False


def fault_of_address(url: str, *, may_be_plain: bool = False) -> str | None:
    """What is wrong with the address of a service, in words; None if nothing is.

    ``may_be_plain`` allows http to other machines too, for development.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not an address"
    if fault := _fault_of_beginning(url, parts.scheme):
        return fault
    if not host or any(c.isspace() for c in url):
        return "names no host"
    if "@" in parts.netloc:
        return "must not hold a user name or a password"
    if parts.query or parts.fragment:
        return "must end with a path, without ? and #"
    if parts.scheme == "http" and not may_be_plain and not is_loopback_url(url):
        return "must be https, since it would send secrets without encryption"
    return None


def _fault_of_beginning(url: str, scheme: str) -> str | None:
    if is_quoted(url):
        return IN_QUOTES
    if "<" in url or ">" in url:
        return "is a placeholder (<...>)"
    if "://" not in url or not scheme:
        return "must begin with https://"
    return None if scheme in ("https", "http") else f"must begin with https://, and not with {scheme[:16]}://"
