"""The proxies that the environment names: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, also in lower case.

                        HTTP proxy   SOCKS proxy                  NO_PROXY
store, providers        yes          with the package socksio     names and addresses, no range of IPv6
bucket (obstore)        yes          no                           all
files and hooks         no: each address is checked where it is connected to, see egress.py
"""

import importlib.util
import re
from collections.abc import Mapping, MutableMapping
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
SCHEMES = ("http", "https", "socks5", "socks5h")
# Scheme, perhaps a user and a password, a name or an address, perhaps a port and a path
PROXY = re.compile(r"[a-z0-9]+://([!-.0-?A-~]*@)?(\[[0-9a-f:.]+\]|[\w.-]+)(:\d+)?(/[!-~]*)?", re.ASCII | re.IGNORECASE)
# What httpx reads: names, addresses and ranges of IPv4, each perhaps with a port, or a whole URL.
ZONED = re.compile(r"[0-9a-f:.]+(%\w+)?", re.ASCII | re.IGNORECASE)  # Python allows any text as the zone of an address
READABLE = re.compile(r"\*|[a-z]+://[\w.*-]+(:\d{1,5})?/?|[\w.*/-]+(:\d{1,5})?", re.ASCII | re.IGNORECASE)


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the proxies by the names of their variables in capitals. In lower case a variable counts first."""
    found = {name: environ.get(name.lower()) or environ.get(name) or "" for name in NAMES}
    return {name: url for name, url in found.items() if url}


def faults_of_proxies(environ: Mapping[str, str], *, bucket_host: str = "") -> list[str]:
    """Returns which proxies no client could use, in words without their addresses, which may hold passwords.

    NO_PROXY spares a host its proxy, but httpx makes the proxy's client all the same, unless it is ``*``.
    """
    faults = []
    spared = [part.strip() for part in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")]
    found = proxies(environ)
    for name, url in found.items() if "*" not in spared else ():
        scheme = _scheme_of(url)
        if scheme not in SCHEMES:
            faults.append(f"{name} must be the address of a proxy: http://, https:// or socks5://, a host and a port")
        elif scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
            faults.append(f"{name} is a SOCKS proxy, which needs a package: pip install 'httpx[socks]'")
    of_bucket = "HTTPS_PROXY" if "HTTPS_PROXY" in found else "ALL_PROXY"
    has_proxy = bucket_host and not _is_spared(bucket_host, spared)
    if has_proxy and found.get(of_bucket, "").lower().startswith("socks"):
        remedy = "set an HTTP proxy, or name its host in NO_PROXY"
        faults.append(f"{of_bucket} is a SOCKS proxy, which the bucket's client cannot use; {remedy}")
    return faults


def _is_spared(host: str, entries: list[str]) -> bool:
    """Whether obstore calls the host without a proxy. For it ``*`` stands for all names, and for no address."""
    names = [entry.lower().removeprefix("*").removeprefix(".") for entry in entries if entry not in ("", "*")]
    is_listed = any(host == name or host.endswith(f".{name}") for name in names)
    return is_listed or ("*" in entries and not _is_ipv4(host) and not _is_ipv6(host))


def readable(entries: str) -> tuple[list[str], list[str]]:
    """Returns the entries of a NO_PROXY that httpx can read, and the others. With one of these no client is built."""
    kept: list[str] = []
    dropped: list[str] = []
    for entry in filter(None, (part.strip() for part in entries.split(","))):
        bare = entry.removeprefix("[").removesuffix("]")
        is_known = _is_ipv6(bare) or (READABLE.fullmatch(entry) and _is_mountable(entry))
        (kept if is_known else dropped).append(bare if _is_ipv6(bare) else entry)
    return kept, dropped


def drop_unreadable(environ: MutableMapping[str, str]) -> list[str]:
    """Takes the entries out of NO_PROXY that httpx cannot read, and returns them."""
    dropped = []
    for name in ("NO_PROXY", "no_proxy"):
        if name in environ:
            kept, others = readable(environ[name])
            environ[name] = ",".join(kept)
            dropped += others
    return sorted(set(dropped))


def _scheme_of(url: str) -> str:
    """Returns the scheme of a proxy's address, http if it has none; '' for what is no address."""
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        has_port = parts.port != 0
    except ValueError:
        return ""
    return parts.scheme if has_port and PROXY.fullmatch(whole) and _is_url(whole) else ""


def _is_mountable(entry: str) -> bool:
    """Whether httpx can read the pattern that it makes of this entry."""
    return _is_url(entry if "://" in entry else f"all://{entry}" if _is_ipv4(entry) else f"all://*{entry}")


def _is_url(text: str) -> bool:
    import httpx  # here, because most deployments have no proxy

    try:
        httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        return False
    return True


def _is_ipv4(entry: str) -> bool:
    try:
        IPv4Address(entry.partition("/")[0])
    except ValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return ZONED.fullmatch(text) is not None
