"""Mutants of verification codes."""

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant, python

SCRIPTS = "shared/verification/scripts"
CODES = "tests/verification/test_codes.py::test_"
VERIFICATION = "tests/verification/test_verification.py::test_"


def lua(name: str, file: str, anchor: str, after: str, *tests: str, part: str = "") -> Mutant:
    """A mutant of a script of this room; see Edit."""
    return Mutant(name, (Edit(f"{SCRIPTS}/{file}.lua", anchor, after, part),), tests)


MUTANTS: tuple[Mutant, ...] = (
    lua(
        "a code is right again", "code_check", "single use", "if record.tag == '' then return false end",
        f"{VERIFICATION}a_code_that_came_by_mail_proves_the_address_once[memory]",
    ),
    lua(
        "a code never grows old", "code_check", "life of a code", "",
        f"{VERIFICATION}a_code_is_gone_after_ten_minutes[memory]",
    ),
    lua(
        "a code may be tried any number of times", "code_check", "five tries", "return true",
        f"{VERIFICATION}a_code_is_gone_after_five_tries[memory]",
    ),
    lua(
        "a repeat of a wrong try is a further try", "code_check", "repeated try", "return false",
        f"{CODES}a_repeat_of_each_verb_answers_the_same_and_changes_nothing[memory]",
    ),
    lua(
        "the calls of a client address are not limited", "codes", "client limit", "if true then return nil end",
        f"{VERIFICATION}the_calls_of_a_client_address_are_limited",
    ),
    lua(
        "a blocked address gets a code", "code_send", "blocked", "",
        f"{VERIFICATION}the_operator_blocks_addresses_and_domains_and_lists_them[memory]",
    ),
    lua(
        "an address gets codes without a gap", "code_send", "code gap", "",
        f"{VERIFICATION}an_address_gets_one_code_a_minute_and_ten_a_day[memory]",
    ),
    lua(
        "an address gets any number of codes a day", "code_send", "codes a day", "",
        f"{VERIFICATION}an_address_gets_one_code_a_minute_and_ten_a_day[memory]",
    ),
    lua(
        "a release takes back the code of another call", "code_release", "release of another code", "",
        f"{CODES}a_release_is_of_its_own_code_alone[memory]",
    ),
    lua(
        "guesses before a mail has failed are free", "code_release",
        "guesses before the mail", "sent[#sent] = nil",
        f"{CODES}a_code_that_was_tried_before_its_mail_failed_counts_as_sent[memory]",
    ),
    python(
        "a full mailbox is the server's trouble", "shared/mail/smtp.py",
        "busy mailbox", "raise MailUnavailable from None",
        "tests/mail/test_mailers.py::test_an_answer_of_the_server_proves_that_nothing_was_sent"
        "[to_recipient-552 Full-MailDeferred]",
    ),
    python(
        "a code that was maybe made and never sent stays", "shared/verification/codes.py", "uncertain code", "pass",
        "tests/verification/test_trouble.py::test_a_send_whose_answers_are_all_lost_takes_its_code_back",
    ),
)  # fmt: skip
