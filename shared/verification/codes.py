"""The verbs of verification codes. Each is one script, one call, and safe to send twice.

The store never holds a code or an address of those who get one: both are keyed and hashed, see signing/derived.py.
"""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Literal

from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import StoreError, StoreUncertain
from shared.frozen import dataclass
from shared.jobqueue.answers import Forms
from shared.jobqueue.replies import Done, Late, Reply
from shared.jobqueue.scripted import Scripted
from shared.rates.refused import Refused
from shared.signing.derived import client_tag, code_tag, email_tag
from shared.store import Store
from shared.verification.errors import AddressBlocked, VerificationLimited

VERBS = ("code_send", "code_release", "code_check", "code_block")
LIBRARIES = ("codes",)
FOLDER = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Made(Reply):
    """The address has a new code. Times in ms: the end of its life, and when the address may get the next one."""

    words = ("made",)

    expires_at: int
    again_at: int


@dataclass(frozen=True)
class Limited(Reply):
    """Nothing was changed: too many codes for the address, or calls of the client address. ``wait`` in s."""

    words = ("limited",)

    by: str  # gap, day or client
    wait: int


@dataclass(frozen=True)
class Blocked(Reply):
    """Nothing was changed: the address or its domain is in the list of the blocked."""

    words = ("blocked",)


@dataclass(frozen=True)
class Tried(Reply):
    """Whether a code was right, at this call alone."""

    words = ("right", "wrong")

    word: Literal["right", "wrong"]


@dataclass(frozen=True)
class Listed(Reply):
    """How many entries the list of the blocked has."""

    words = ("set",)

    count: int


FORMS: Forms = {
    "code_send": (Made, Limited, Blocked, Late),
    "code_release": (Done,),
    "code_check": (Tried, Limited),
    "code_block": (Listed,),
}


@dataclass(frozen=True)
class Sending:
    """A code that was made for an address, while its mail is on its way."""

    token: str
    code: str
    made: Made


class Codes(Scripted):
    """Makes and tries the codes of addresses. A client is the network that a call comes from; '' if it is not known."""

    folder: ClassVar[Path | None] = FOLDER
    forms: ClassVar[Forms] = FORMS

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        super().__init__(store, settings, clock)
        self._limited_clients = Refused(clock)

    async def send(self, owner: str, address: str, client: str, names: Sequence[str]) -> Sending:
        """Makes a code for the address, in place of the one before.

        ``names`` are the address and its domains, as the list of the blocked may have them. Raises AddressBlocked or
        VerificationLimited; nothing is written then.
        """
        keys = self._keys(owner, address, client)
        self._look_for_refusal(keys)
        code = f"{secrets.randbelow(1_000_000):06}"
        token = secrets.token_hex(8)
        try:
            reply = await self._run(
                "code_send",
                Reply,
                **keys,
                token=token,
                tag=code_tag(self._settings.signing_key, owner, address, code),
                client_limit=self._client_limit(client),
                client_span=self._client_span,
                names=names,
            )
        except StoreUncertain:
            # No mail follows. If the code was made, the one before must not be lost for it.
            with suppress(StoreError):
                await self.release(owner, address, client, token, is_counted=False)  # mutant: uncertain code
            raise
        match reply:
            case Made():
                return Sending(token, code, reply)
            case Limited():
                raise self._limited(reply, keys)
            case _:
                raise AddressBlocked

    async def release(self, owner: str, address: str, client: str, token: str, *, is_counted: bool) -> None:
        """Takes the code of a sending back. ``is_counted``: the call still counts for its client."""
        keys = self._keys(owner, address, client)
        await self._run("code_release", Done, **keys, token=token, client_span=self._client_span, is_counted=is_counted)
        if not is_counted:
            self._limited_clients.forget(keys["client"])  # mutant: room for a client

    async def check(self, owner: str, address: str, client: str, code: str) -> bool:
        """Tries a code; True once for the right one. Raises VerificationLimited; then no try was used."""
        keys = self._keys(owner, address, client)
        self._look_for_refusal(keys)
        reply = await self._run(
            "code_check",
            Reply,
            **keys,
            token=secrets.token_hex(8),
            tag=code_tag(self._settings.signing_key, owner, address, code),
            client_limit=self._client_limit(client),
            client_span=self._client_span,
        )
        if isinstance(reply, Limited):
            raise self._limited(reply, keys)
        return isinstance(reply, Tried) and reply.word == "right"

    async def block(self, entries: Mapping[str, bool]) -> int:
        """Adds entries to the list of the blocked, and removes those that are False; returns how many it has then."""
        changes = {name: "1" if is_blocked else "" for name, is_blocked in entries.items()}
        return (await self._run("code_block", Listed, entries=changes)).count

    async def blocked(self, after: str, count: int) -> list[str]:
        """Returns so many entries of the list of the blocked, in the order of their bytes, from behind ``after`` on."""
        first = f"({after}" if after else "-"
        command = ("ZRANGEBYLEX", self.keys.blocked, first, "+", "LIMIT", "0", str(count))
        entries: list[str] = await self._store.execute(*command)
        return entries

    def _keys(self, owner: str, address: str, client: str) -> dict[str, str]:
        secret = self._settings.signing_key
        return {
            "codes": self.keys.codes(owner, email_tag(secret, owner, address)),
            "client": self.keys.code_client(owner, client_tag(secret, owner, client)),
        }

    def _client_limit(self, client: str) -> int:
        rate = self._settings.rate_of_clients
        # Callers without an address would share one count.
        return rate.count if rate is not None and client else 0

    @property
    def _client_span(self) -> timedelta:
        rate = self._settings.rate_of_clients
        return timedelta(seconds=rate.seconds if rate is not None else 1)

    def _look_for_refusal(self, keys: Mapping[str, str]) -> None:
        """Raises VerificationLimited for a client that this process knows to be refused."""
        if wait := self._limited_clients.wait(keys["client"]):  # mutant: known client
            raise VerificationLimited("client", wait, self._settings.rate_of_clients)

    def _limited(self, reply: Limited, keys: Mapping[str, str]) -> VerificationLimited:
        if reply.by == "client":
            self._limited_clients.note(keys["client"], reply.wait)
        return VerificationLimited(reply.by, reply.wait, self._settings.rate_of_clients)
