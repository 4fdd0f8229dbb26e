"""What depends on where the functions run."""

import functools
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared.config.environment import EnvironmentSettings

BYPASS = "x-vercel-protection-bypass"  # Vercel, "Protection Bypass for Automation": header or query parameter

MAPPED = IPv6Network("::ffff:0:0/96")
WIDEST = 8  # bits; 0.0.0.0/1 and 128.0.0.0/1 are everything together

Network = IPv4Network | IPv6Network


class HostingSettings(EnvironmentSettings):
    """How the deployment is reached, and what its platform allows."""

    public_base_url: str | None = None
    # Set by Vercel where deployments are protected; without it their providers' webhooks get 401
    vercel_automation_bypass_secret: SecretStr | None = None
    # 10.0.0.0/8[,...]: of proxies in front, whose X-Forwarded-For is believed; Vercel and Lambda need none
    trusted_proxies: str = ""
    dispatch_on_submit: bool = True
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def bypass_query(self) -> dict[str, str]:
        """What the URL of a webhook must carry to pass Vercel's protection."""
        secret = self.vercel_automation_bypass_secret
        return {BYPASS: secret.get_secret_value()} if secret else {}

    def location(self, path: str) -> str:
        """Returns this path as callers reach it: PUBLIC_BASE_URL may have a path, as with a named stage on AWS."""
        return f"{urlsplit(self.public_base_url or '').path.rstrip('/')}{path}"

    @functools.cached_property
    def proxy_networks(self) -> tuple[Network, ...]:
        """The networks of TRUSTED_PROXIES. Raises ValueError for what is none."""
        entries = filter(None, map(str.strip, self.trusted_proxies.split(",")))
        return tuple(ip_network(entry) for entry in entries)

    def faults(self) -> list[str]:
        return [*self._unreachable("public_base_url"), *self._faults_of_proxies(), *super().faults()]

    def _faults_of_proxies(self) -> list[str]:
        try:
            networks = self.proxy_networks
        except ValueError:  # its message quotes the entry
            return ["TRUSTED_PROXIES must hold networks, such as 10.0.0.0/8 or 10.0.0.7, separated by commas"]
        problems = []
        if any(network.prefixlen < WIDEST for network in networks):  # mutant: wide network
            problems.append(f"TRUSTED_PROXIES has a network beyond /{WIDEST}: each caller could name its own address")
        if any(isinstance(network, IPv6Network) and network.subnet_of(MAPPED) for network in networks):
            problems.append(
                "TRUSTED_PROXIES has an IPv4 network in IPv6's form, which no address is in: leave out ::ffff:"
            )
        return problems
