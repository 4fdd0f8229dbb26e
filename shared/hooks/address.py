"""The check of a hook URL at submit: its form, and the addresses of its host."""

from dataclasses import replace

import httpx

from shared.cache import Cache
from shared.egress import EgressRefused, Guard, Reason, looked_up_for
from shared.errors import InvalidRequest, LookupFailed

SENTENCES: dict[Reason, str] = {
    "scheme": "must be an https URL",
    "port": "must not name a port",
    "userinfo": "must not carry credentials",
    "host": "must name a public host by its full name",
    "address": "must name a public host, and by its name, not its address",
    "unresolved": "must name a host that can be found",
}
SHOWN_LABELS = 2  # of a hook's host; the first ones may name a customer, or be as good as a password
REMEMBERED_HOSTS = 256
REMEMBERED_FOR = 60.0  # s


async def check_hook_url(url: str, guard: Guard, owner: str = "") -> None:
    """Resolves the URL's host; raises InvalidRequest, which echoes nothing, unless the guard would call it now.

    Raises LookupFailed if the resolver is in trouble: a request that is good must not be refused for ever.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise InvalidRequest("must be a valid URL", field="hook_url") from None
    if parsed.fragment:
        raise InvalidRequest("must not carry a fragment", field="hook_url")
    try:
        with looked_up_for(owner):
            await guard.addresses_of(parsed)
    except EgressRefused as refused:
        if refused.reason == "lookup":
            raise LookupFailed().because(f"{domain_of(parsed.host)}: {refused.reason}") from None
        raise InvalidRequest(SENTENCES.get(refused.reason, "cannot be called"), field="hook_url") from None


def domain_of(host: str) -> str:
    """Returns as much of a host as the log may show."""
    return ".".join(host.split(".")[-SHOWN_LABELS:])


class HookAddresses:
    """Checks hook URLs at submit; resolves a host at most once a minute for each owner. Belongs to one event loop.

    Owners share no lookup: it takes its turn among the names of one of them, and slow names of one would stop another.

    Each delivery resolves the name again, because it may lead to another address by then.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._answers = Cache(REMEMBERED_HOSTS)

    async def check(self, url: str, owner: str = "") -> None:
        """Does the same as check_hook_url."""

        async def resolve(host: str, port: int) -> list[str]:
            remembered = await self._answers.remember(
                f"{host}:{port} {owner}",  # mutant: lookups of one owner
                REMEMBERED_FOR,
                lambda: self._guard.resolver(host, port),
                lambda found: sum(map(len, found)),
            )
            return remembered.value

        await check_hook_url(url, replace(self._guard, resolver=resolve), owner)
