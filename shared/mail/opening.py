"""The way that a deployment's mails go."""

from shared.config.settings import Settings
from shared.mail.message import Mailer


def open_mailer(settings: Settings) -> Mailer | None:
    """Returns the mailer that the settings name; None if they name none. Loads the client of that one alone."""
    server, sender, key = settings.smtp_server, settings.sender, settings.resend_api_key
    if sender is None:
        return None
    if server is not None:
        from shared.mail.smtp import SmtpMailer

        return SmtpMailer(server, sender)
    if key is not None:
        from shared.mail.resend import ResendMailer

        return ResendMailer(key, sender)
    return None
