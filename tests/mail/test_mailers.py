"""Mails over SMTP with TLS, and through Resend's API."""

import asyncio
import json
import ssl
from pathlib import Path

import httpx
import pytest
import respx
from pydantic import SecretStr

from shared.config.mail import Sender, SmtpServer
from shared.errors import Problem
from shared.mail import resend, smtp
from shared.mail.errors import MailDeferred, MailRefused, MailUnavailable, MailUncertain
from shared.mail.message import Mail
from shared.mail.resend import URL, ResendMailer
from shared.mail.smtp import SmtpMailer
from shared.mailboxes import read_mailbox
from tests.deploy.vercel_edge import make_certificate
from tests.logs import all_logs
from tests.post import Post, post_office, text_of

SENDER = Sender("Acme, Films", read_mailbox("no-reply@acme.dev"))
MAIL = Mail("0123456789abcdef", read_mailbox("Ada@example.com"), "您的验证码", "code: 123456\n.\n", "<p>123456</p>")
KEY = SecretStr("re_CANARY_12345678")


def mailer_of(post: Post, *, host: str = "127.0.0.1", is_starttls: bool = False, timeout: float = 30.0) -> SmtpMailer:
    return SmtpMailer(SmtpServer(host, post.port, "", "", is_starttls=is_starttls), SENDER, timeout)


async def test_a_mail_arrives_as_it_was_written() -> None:
    async with post_office() as post:
        await mailer_of(post).send(MAIL)
    (mail,) = post.mails
    assert (mail["From"], mail["To"]) == ('"Acme, Films" <no-reply@acme.dev>', "Ada@example.com")
    assert mail["Subject"] == MAIL.subject and mail["Message-ID"] == "<0123456789abcdef@acme.dev>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert text_of(mail) == MAIL.text and text_of(mail, "html").strip() == MAIL.html


async def test_a_server_elsewhere_gets_nothing_before_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = make_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with post_office(tls) as post:
        with pytest.raises(MailUnavailable):  # no authority that the client knows
            await mailer_of(post, is_starttls=True).send(MAIL)
        trust = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr(smtp, "tls_context", lambda: trust)
        await mailer_of(post, is_starttls=True).send(MAIL)
        assert len(post.mails) == 1
    async with post_office() as plain:
        with pytest.raises(MailUnavailable):
            await mailer_of(plain, is_starttls=True).send(MAIL)
        assert plain.mails == []


@pytest.mark.parametrize(
    ("where", "answer", "error"),
    [
        ("to_recipient", "550 No such user", MailRefused),
        ("to_recipient", "553 Not allowed", MailRefused),
        ("to_recipient", "450 Greylisted", MailDeferred),
        ("to_recipient", "552 Full", MailDeferred),
        ("to_recipient", "421 Busy", MailUnavailable),
        ("to_recipient", "530 Log in first", MailUnavailable),
        ("to_mail", "452 Full", MailUnavailable),
        ("to_mail", "550 Spam", MailUnavailable),
    ],
)
async def test_an_answer_of_the_server_proves_that_nothing_was_sent(
    where: str, answer: str, error: type[Problem]
) -> None:
    async with post_office() as post:
        setattr(post, where, answer)
        with pytest.raises(MailUnavailable if error is MailDeferred else error) as raised:
            await mailer_of(post).send(MAIL)
    assert type(raised.value) is error


async def test_no_answer_to_the_mail_proves_nothing() -> None:
    async with post_office() as post:
        post.is_gone = True
        with pytest.raises(MailUncertain):
            await mailer_of(post).send(MAIL)


async def test_a_server_that_is_silent_after_the_mail_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with post_office() as post:
        post.is_silent = True
        sending = asyncio.create_task(mailer_of(post).send(MAIL))
        await post.has_mail.wait()
        loop = asyncio.get_running_loop()
        later = loop.time() + 60
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: later)
            with pytest.raises(MailUncertain):
                await sending


async def test_a_server_that_never_greets_is_left_in_time() -> None:
    is_over = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    with pytest.raises(MailUnavailable):
        await mailer_of(Post(port=server.sockets[0].getsockname()[1]), timeout=0.2).send(MAIL)
    is_over.set()
    server.close()
    await server.wait_closed()


@respx.mock
async def test_resend_gets_the_mail_under_its_own_id() -> None:
    route = respx.post(URL).respond(200, json={"id": "49a3999c"})
    mailer = ResendMailer(KEY, SENDER)
    await mailer.send(MAIL)
    await mailer.close()
    request = route.calls.last.request
    assert request.headers["authorization"] == f"Bearer {KEY.get_secret_value()}"
    assert request.headers["idempotency-key"] == MAIL.id
    assert json.loads(request.content) == {
        "from": '"Acme, Films" <no-reply@acme.dev>', "to": ["Ada@example.com"], "subject": MAIL.subject,
        "text": MAIL.text, "html": MAIL.html, "headers": {"Auto-Submitted": "auto-generated"},
    }  # fmt: skip


LOST = httpx.ReadTimeout("lost")
FINE = httpx.Response(200, json={"id": "1"})
DOWN = httpx.Response(500, json={"name": "internal_server_error", "message": "for Ada@example.com"})
BUSY = httpx.Response(409, json={"name": "concurrent_idempotent_requests"})
OVER = httpx.Response(429, json={"name": "daily_quota_exceeded", "message": "for Ada@example.com"})
WRONG = httpx.Response(422, json=["no object"])


@pytest.mark.parametrize(
    ("answers", "error", "calls"),
    [
        ([LOST, FINE], None, 2),
        ([DOWN, FINE], None, 2),
        ([BUSY, FINE], None, 2),
        ([LOST, LOST], MailUncertain, 2),
        ([DOWN, DOWN], MailUncertain, 2),
        ([LOST, OVER], MailUncertain, 2),
        ([LOST, httpx.ConnectError("gone")], MailUncertain, 2),
        ([httpx.ConnectError("gone")], MailUnavailable, 1),
        ([OVER], MailUnavailable, 1),
        ([WRONG], MailDeferred, 1),
        ([httpx.Response(401, text="<html>")], MailUnavailable, 1),
    ],
)
@respx.mock
async def test_a_lost_answer_of_resend_is_asked_for_once_more(
    answers: list[httpx.Response | Exception], error: type[Problem] | None, calls: int
) -> None:
    route = respx.post(URL).mock(side_effect=answers)
    mailer = ResendMailer(KEY, SENDER)
    with all_logs() as lines:
        if error is None:
            await mailer.send(MAIL)
        else:
            with pytest.raises(Problem) as raised:
                await mailer.send(MAIL)
            assert type(raised.value) is error
    await mailer.close()
    assert route.call_count == calls
    assert ("mail_failed" in str(lines)) == (error is not None)
    assert "Ada@" not in str(lines) and "CANARY" not in str(lines)


async def test_resend_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(30)
        return FINE

    monkeypatch.setattr(resend, "TIMEOUT", 0.1)
    with respx.mock:
        respx.post(URL).mock(side_effect=slow)
        mailer = ResendMailer(KEY, SENDER)
        with pytest.raises(MailUncertain):
            await mailer.send(MAIL)
        await mailer.close()
