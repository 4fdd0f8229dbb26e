"""Sends codes by mail, tries them, and keeps the list of those that get none.

make the code (store) ──▶ send the mail ──▶ 202
                             │ surely not sent: the code is taken back, and the try does not count
                             │ maybe sent: the code stays
"""

from shared.clock import Clock, iso
from shared.config.settings import Settings
from shared.documents.verification import BlockedCount, BlockedPage, ProofKey, SentCode, VerifiedAddress
from shared.errors import StoreError
from shared.jobqueue.constants import CODE_LIFE
from shared.log import log
from shared.mail.errors import MailRefused, MailUnavailable, NoMail
from shared.mail.message import Mail, Mailer
from shared.mail.texts import Language, code_mail
from shared.mailboxes import Mailbox, read_mailbox
from shared.signing.derived import proof_key
from shared.verification.codes import Codes, Sending
from shared.verification.errors import AddressBlocked, CodeInvalid
from shared.verification.proof import ALGORITHM, ISSUER, make_proof
from shared.verification.request import BlockedChange, BlockedQuery, CodeCheck, CodeRequest


class Verification:
    """What applications and the operator do with codes. ``client`` is the network of the address that called."""

    def __init__(self, codes: Codes, mailer: Mailer | None, settings: Settings, clock: Clock) -> None:
        self._codes = codes
        self._mailer = mailer
        self._settings = settings
        self._clock = clock

    async def send(self, owner: str, wanted: CodeRequest, client: str) -> SentCode:
        """Sends a new code to the address. Raises an error of verification/errors.py or mail/errors.py."""
        if self._mailer is None:
            raise NoMail
        to = read_mailbox(wanted.email)
        names = to.names
        if not self._settings.blocked_names.isdisjoint(names):
            raise AddressBlocked
        sending = await self._codes.send(owner, to.identity, client, names)
        try:
            await self._mailer.send(self._mail(to, sending, wanted.language))
        except (MailRefused, MailUnavailable) as error:
            # An unknown recipient is the client's doing; one that asks for many would be bound by nothing else.
            await self._release(owner, to, client, sending, is_counted=isinstance(error, MailRefused))
            raise
        made = sending.made
        return {"email": to.identity, "expires_at": iso(made.expires_at), "again_at": iso(made.again_at)}

    async def check(self, owner: str, asked: CodeCheck, client: str) -> VerifiedAddress:
        """Returns a proof for a right code. Raises CodeInvalid for any other, or VerificationLimited."""
        address = read_mailbox(asked.email).identity
        if not await self._codes.check(owner, address, client, asked.code):
            raise CodeInvalid
        proof = make_proof(self._settings.signing_key, owner, address, self._clock.now())
        return {"email": address, "proof": proof.token, "expires_at": iso(proof.expires_at * 1000)}

    def key(self, owner: str) -> ProofKey:
        """Returns what the owner verifies proofs with."""
        key = proof_key(self._settings.signing_key, owner)
        return {"algorithm": ALGORITHM, "key": key, "issuer": ISSUER, "audience": owner}

    async def blocked(self, query: BlockedQuery) -> BlockedPage:
        """Returns a page of the list of the blocked, in the order of their bytes."""
        entries = await self._codes.blocked(query.cursor or "", query.limit + 1)
        page = entries[: query.limit]
        return {"entries": page, "next_cursor": page[-1] if len(entries) > query.limit else None}

    async def block(self, change: BlockedChange) -> BlockedCount:
        """Adds and removes entries of the list of the blocked; what is in both is removed."""
        entries = dict.fromkeys(change.add, True) | dict.fromkeys(change.remove, False)
        count = await self._codes.block(entries)
        log.warning("blocked_changed", added=len(change.add), removed=len(change.remove))
        return {"count": count}

    def _mail(self, to: Mailbox, sending: Sending, language: Language) -> Mail:
        sender = self._settings.sender
        product = sender.name if sender else ""
        written = code_mail(language, product, sending.code, CODE_LIFE // 60_000)
        return Mail(sending.token, to, written.subject, written.text, written.html)

    async def _release(self, owner: str, to: Mailbox, client: str, sending: Sending, *, is_counted: bool) -> None:
        try:
            await self._codes.release(owner, to.identity, client, sending.token, is_counted=is_counted)
        except StoreError as error:
            # The code is known to nobody, and its address waits a minute for the next one.
            log.warning("code_not_released", code=error.code, cause=error.cause)

    async def close(self) -> None:
        """Closes the connections of the mailer."""
        if self._mailer is not None:
            await self._mailer.close()
