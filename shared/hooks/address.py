"""Where an owner may want to be told: what a hook URL must look like to be accepted."""

import ipaddress

import httpx

from shared.errors import InvalidRequest
from shared.settings import Settings, is_loopback


def check_hook_url(url: str, settings: Settings) -> None:
    """Accepts https without credentials or fragment; http only to this machine, and only in development."""
    try:
        parsed = httpx.URL(url)
        host, port = parsed.host, parsed.port  # decoded only here, where IDNA may find fault with it
    except (httpx.InvalidURL, ValueError):
        raise InvalidRequest("must be a valid URL", field="hook_url") from None
    local = settings.is_development and is_loopback(url) and parsed.scheme in ("http", "https")
    if parsed.scheme != "https" and not local:
        raise InvalidRequest("must be an https URL", field="hook_url")
    if not local and (is_loopback(url) or _is_address(host) or port is not None):
        raise InvalidRequest("must name a public host, without an address or port of its own", field="hook_url")
    if not host or parsed.userinfo or parsed.fragment:
        raise InvalidRequest("must name a host and carry neither credentials nor a fragment", field="hook_url")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
