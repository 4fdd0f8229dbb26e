"""The errors of a mail that could not be sent, as callers get them."""

from shared.errors import FixedProblem, StateConflict


class NoMail(StateConflict):
    """This deployment sends no mail."""

    code = "no_mail"
    title = "No mail"
    reason = "This deployment sends no mail: neither SMTP_URL nor RESEND_API_KEY is set."


class MailRefused(FixedProblem):
    """The mail server knows no such recipient; surely not sent."""

    code = "mail_refused"
    http_status = 422
    title = "The mail server refuses the address"
    reason = "The mail server takes no mail for this address."
    at = "email"


class MailUnavailable(FixedProblem):
    """The mail could not be handed over; surely not sent."""

    code = "mail_unavailable"
    http_status = 503
    title = "The mail could not be sent"
    retryable = True
    reason = "The mail server does not take mail right now. The try does not count."
    wait = 10


class MailDeferred(MailUnavailable):
    """The mail server takes no mail for this mailbox right now: it is full, or busy; surely not sent."""

    code = "mail_deferred"
    reason = "The mailbox does not take mail right now. The try does not count."
    wait = 60


class MailUncertain(FixedProblem):
    """The mail was handed over, and no answer came back; it may arrive."""

    code = "mail_uncertain"
    http_status = 503
    title = "The mail may have been sent"
    retryable = True
    reason = "The mail server did not answer in time; the mail may arrive."
    wait = 60
