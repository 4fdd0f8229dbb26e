"""A real SMTP server for tests: aiosmtpd on a free port of this machine, which keeps the mails and fails on request."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

ACCEPTED = "250 OK"


@dataclass
class Post:
    """The server's side: what it has got, and how it answers from now on."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    to_recipient: str = ACCEPTED
    to_mail: str = ACCEPTED
    full: set[str] = field(default_factory=set)  # mailboxes that take no mail right now
    is_silent: bool = False  # it takes a mail and never answers
    is_gone: bool = False  # it takes a mail and hangs up
    password: bytes = b"pass:word"
    has_mail: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def code(self) -> str:
        """The code in the last mail."""
        return code_in(self.mails[-1])

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.full:
            return "452 full"
        if self.to_recipient == ACCEPTED:
            envelope.rcpt_tos.append(address)
        return self.to_recipient

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        self.has_mail.set()
        if self.is_silent:
            await asyncio.Event().wait()
        if self.is_gone and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
        if self.to_mail == ACCEPTED:
            content = envelope.content
            assert isinstance(content, bytes)
            self.mails.append(message_from_bytes(content, _class=EmailMessage, policy=default))
            self.recipients += envelope.rcpt_tos
        return self.to_mail

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _way: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == self.password, handled=False)  # a refusal is the server's


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    """The mail's text in one of its two forms."""
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def code_in(mail: EmailMessage) -> str:
    found = re.findall(r"\b\d{6}\b", text_of(mail))
    assert len(found) == 1
    return str(found[0])


@asynccontextmanager
async def post_office(tls: ssl.SSLContext | None = None, *, wants_login: bool = False) -> AsyncIterator[Post]:
    """Runs the server in this loop. With ``tls`` it wants STARTTLS; ``wants_login``: the password is the post's."""
    post, loop = Post(), asyncio.get_running_loop()
    made: list[SMTP] = []

    def protocol() -> SMTP:
        made.append(SMTP(
            post, hostname="post.test", tls_context=tls, require_starttls=tls is not None,
            auth_require_tls=False, authenticator=post.authenticate if wants_login else None, loop=loop,
        ))  # fmt: skip
        return made[-1]

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    post.port = server.sockets[0].getsockname()[1]
    try:
        yield post
    finally:
        server.close()
        for one in made:
            await hang_up(one)


async def hang_up(connection: SMTP) -> None:
    """Ends a connection that its client, or a test of silence, has left open."""
    handler = connection._handler_coroutine
    if isinstance(connection.transport, asyncio.Transport):
        connection.transport.abort()
    if handler is not None:
        handler.cancel()
        await asyncio.wait([handler])
