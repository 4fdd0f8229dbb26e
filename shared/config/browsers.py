"""Which web pages may call this deployment with a token."""

import functools
import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from shared.config.addresses import is_loopback_url
from shared.config.environment import EnvironmentSettings

# A label as browsers send it: the address bar's other letters are xn-- there (URL Standard, "host parsing").
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # as a last label it makes the host an IPv4 address


class BrowserSettings(EnvironmentSettings):
    """The origins of pages that may read answers (CORS). Without one, no page of another origin can."""

    cors_origins: str = ""  # https://app.acme.dev[,https://...]: exactly as a browser sends them

    @functools.cached_property
    def origins(self) -> tuple[str, ...]:
        """The listed origins."""
        return tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())

    def faults(self) -> list[str]:
        problems = [f"CORS_ORIGINS: entry {number} {fault}" for number, fault in self._faults_of_origins()]
        return problems + super().faults()

    def _faults_of_origins(self) -> list[tuple[int, str]]:
        found = [(number, _fault_of(origin, self.is_development)) for number, origin in enumerate(self.origins, 1)]
        return [(number, fault) for number, fault in found if fault]


def _fault_of(origin: str, is_development: bool) -> str:
    """Returns what keeps a text from being an origin, as browsers send it; '' if it is one."""
    if origin in ("*", "null"):
        return f"is {origin}; name each origin, since a token must not be open to every page"
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "is no origin"
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    if usual is None or not host or "*" in host:
        return "must be https://host or https://host:port, without a wildcard"
    if fault := _fault_of_host(parts.netloc, host, port):
        return fault
    address = f"[{host}]" if ":" in host else host
    if origin != f"{parts.scheme}://{address}{'' if port in (None, usual) else f':{port}'}":
        return "must be https://host or https://host:port, in lower case, without path and slash"
    if parts.scheme == "http" and not is_development and not is_loopback_url(origin):
        return "must be https, since a token would travel without encryption"
    return ""


def _fault_of_host(written: str, host: str, port: int | None) -> str:
    if "@" in written:
        return "must hold no user name and no password"
    if not written.isascii():
        return "must have its host as browsers send it, which begins with xn-- for letters beyond ASCII"
    return "" if _is_host(host) and port != 0 else "names a host or a port that cannot be"


def _is_host(host: str) -> bool:
    """Whether this is a name or an address, as a browser writes it."""
    try:
        return ip_address(host).compressed == host and "%" not in host
    except ValueError:
        labels = host.split(".")
        return len(host) <= 253 and all(map(LABEL.fullmatch, labels)) and not NUMBER.fullmatch(labels[-1])
