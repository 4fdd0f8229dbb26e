"""What comes from outside is text in every form of a mail, in each language."""

import pytest

from shared.mail.texts import CODE_TEXTS, Language, code_mail
from tests.mail.pages import elements_of


@pytest.mark.parametrize("language", CODE_TEXTS)
def test_a_senders_name_is_text_in_every_form(language: Language) -> None:
    plain = code_mail(language, "", "123456", 10)
    written = code_mail(language, "<img src=x> {code} & \"Söhne'", "123456", 10)
    assert elements_of(written.html) == elements_of(plain.html) and "img" not in elements_of(written.html)
    assert "<img src=x> {code}" in written.subject
    assert "{" not in plain.html + plain.text
    for text in (written.text, written.html):
        assert text.count("123456") == 1 and "10" in text
    assert all(value for value in vars(CODE_TEXTS[language]).values())
