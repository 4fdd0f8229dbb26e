"""Mutants of the way that mails go."""

from tests.mutants.mutant import Mutant, python

ENDS = "tests/hooks/test_mailed_ends.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    python(
        "a mail without an answer counts as not sent", "shared/mail/smtp.py", "no answer to a mail",
        "raise MailUnavailable from None", "tests/mail/test_mailers.py::test_no_answer_to_the_mail_proves_nothing",
    ),
    python(
        "a lost answer of Resend counts as sent", "shared/mail/resend.py", "one repeat of a mail", "return",
        "tests/mail/test_mailers.py::test_a_lost_answer_of_resend_is_asked_for_once_more[answers3-MailUncertain-2]",
    ),
    python(
        "a user gets a mail for each event", "shared/hooks/subscription.py", "only ends are mailed", "pass",
        f"{ENDS}only_ends_are_mailed[memory]",
    ),
    python(
        "a mailbox that does not exist is tried again", "shared/hooks/delivery.py", "unknown mailbox",
        "if status == GONE:", f"{ENDS}a_mailbox_that_does_not_exist_gets_nothing_more[memory]",
    ),
    python(
        "a mail has any link", "shared/hooks/mailing.py", "link of a mail", "is_link = True",
        f"{ENDS}a_link_that_is_no_https_url_is_left_out[memory-javascript:alert(1)]",
    ),
)  # fmt: skip
