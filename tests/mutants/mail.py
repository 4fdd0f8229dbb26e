"""Mutants of the way that mails go."""

from tests.mutants.mutant import Mutant, python

MUTANTS: tuple[Mutant, ...] = (
    python(
        "a mail without an answer counts as not sent", "shared/mail/smtp.py", "no answer to a mail",
        "raise MailUnavailable from None", "tests/mail/test_mailers.py::test_no_answer_to_the_mail_proves_nothing",
    ),
    python(
        "a lost answer of Resend counts as sent", "shared/mail/resend.py", "one repeat of a mail", "return",
        "tests/mail/test_mailers.py::test_a_lost_answer_of_resend_is_asked_for_once_more[answers3-MailUncertain-2]",
    ),
)  # fmt: skip
