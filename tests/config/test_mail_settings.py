"""The settings of mail: what stops the start, and what they mean."""

import pytest
from pydantic import SecretStr

from shared.mail import resend, smtp
from shared.mail.opening import open_mailer
from shared.mail.resend import ResendMailer
from shared.mail.smtp import SmtpMailer
from shared.startup import load_settings
from tests.config.production import faults
from tests.world import settings_for

SMTP = {
    "SMTP_URL": "smtps://no-reply%40acme.dev:CANARY%2Fsecret@smtp.acme.dev",
    "MAIL_FROM": "Acme <no-reply@acme.dev>",
}


def test_a_server_of_mail_is_read_from_its_address(environment: pytest.MonkeyPatch) -> None:
    for name, value in (SMTP | {"VERIFICATION_BLOCKED": "Spam.dev, @x.dev ,Ada@Acme.dev"}).items():
        environment.setenv(name, value)
    loaded = load_settings()
    server, sender = loaded.smtp_server, loaded.sender
    assert server is not None and sender is not None
    assert (server.host, server.port, server.user, server.password) == (
        "smtp.acme.dev", 465, "no-reply@acme.dev", "CANARY/secret",
    )  # fmt: skip
    assert server.is_tls and not server.is_starttls and "CANARY" not in repr(server)
    assert (sender.name, sender.mailbox.address) == ("Acme", "no-reply@acme.dev")
    assert loaded.blocked_names == {"spam.dev", "x.dev", "ada@acme.dev"}


@pytest.mark.parametrize(
    ("url", "port", "is_starttls"),
    [
        ("smtp://smtp.acme.dev", 587, True), ("smtp://smtp.acme.dev:2525/", 2525, True),
        ("smtp://127.0.0.1:1025", 1025, False),
    ],
)  # fmt: skip
def test_only_this_machine_gets_mail_without_encryption(
    environment: pytest.MonkeyPatch, url: str, port: int, is_starttls: bool
) -> None:
    environment.setenv("SMTP_URL", url)
    environment.setenv("MAIL_FROM", SMTP["MAIL_FROM"])
    server = load_settings().smtp_server
    assert server is not None and (server.port, server.is_starttls) == (port, is_starttls)


@pytest.mark.parametrize(
    "url",
    [
        "smtp.acme.dev:587", "https://CANARY.acme.dev", "smtp://:587", "smtp://acme.dev/CANARY", "smtp://acme.dev?CANARY=1",
        "smtp://acme.dev:CANARY", "smtp://[CANARY",
    ],
)  # fmt: skip
def test_an_address_of_a_mail_server_that_cannot_be_read_stops_the_start(
    environment: pytest.MonkeyPatch, url: str
) -> None:
    (line,) = faults(environment, **SMTP | {"SMTP_URL": url})
    assert line.startswith("SMTP_URL ") and "CANARY" not in line


@pytest.mark.parametrize("name", ["SMTP_URL", "RESEND_API_KEY"])
def test_mail_needs_a_sender(environment: pytest.MonkeyPatch, name: str) -> None:
    value = SMTP["SMTP_URL"] if name == "SMTP_URL" else "re_0123456789abcdef"
    assert faults(environment, **{name: value}) == ["MAIL_FROM is missing: a mail needs a sender"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAIL_FROM", "Acme"), ("MAIL_FROM", "Acme <CANARY@localhost>"), ("MAIL_FROM", "CANARY@acme.dev, b@acme.dev"),
        ("VERIFICATION_BLOCKED", "spam.dev, CANARY"), ("VERIFICATION_BLOCKED", "CANARY@"),
    ],
)  # fmt: skip
def test_what_is_no_address_stops_the_start(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    (line,) = faults(environment, **SMTP | {name: value})
    assert line.startswith(f"{name} must be") and "CANARY" not in line


def test_a_start_without_the_package_for_smtp_says_which_is_missing(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setattr("shared.startup.find_spec", lambda _: None)
    assert faults(environment, **SMTP) == ["SMTP_URL needs the packages of requirements-mail.txt"]


def test_the_settings_name_the_way_of_the_mails() -> None:
    assert open_mailer(settings_for(None)) is None
    assert open_mailer(settings_for(None, mail_from="a@acme.dev")) is None
    key = SecretStr("re_0123456789abcdef")
    by_smtp = {"smtp_url": "smtps://u:p@mail.acme.dev", "mail_from": "a@acme.dev"}
    assert isinstance(open_mailer(settings_for(None, **by_smtp)), SmtpMailer)
    assert isinstance(open_mailer(settings_for(None, **by_smtp, resend_api_key=key)), SmtpMailer)
    assert isinstance(open_mailer(settings_for(None, resend_api_key=key, mail_from="a@acme.dev")), ResendMailer)
    assert smtp.TIMEOUT == resend.TIMEOUT == 10.0
