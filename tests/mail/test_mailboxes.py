"""What counts as an e-mail address, and which names stand for it in a list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mailboxes import MAX_ADDRESS, read_entry, read_mailbox


@pytest.mark.parametrize(
    ("text", "address", "names"),
    [
        ("Ada@Example.com", "Ada@example.com", ["ada@example.com", "example.com"]),
        ("a.b+news@mail.acme.dev", "a.b+news@mail.acme.dev",
         ["a.b+news@mail.acme.dev", "a.b@mail.acme.dev", "mail.acme.dev", "acme.dev"]),
        ("ada@MÜNCHEN.example", "ada@xn--mnchen-3ya.example", ["ada@xn--mnchen-3ya.example", "xn--mnchen-3ya.example"]),
        ("o'neil_{x}@acme.dev", "o'neil_{x}@acme.dev", ["o'neil_{x}@acme.dev", "acme.dev"]),
    ],
)  # fmt: skip
def test_a_mailbox_has_an_address_and_names(text: str, address: str, names: list[str]) -> None:
    mailbox = read_mailbox(text)
    assert (mailbox.address, mailbox.names) == (address, names)


@pytest.mark.parametrize("text", ["a" * 65 + "@acme.dev", f"ada@{'a.' * 125}dev", "ada@acme", "ada@-acme.dev"])
def test_what_no_server_takes_is_no_mailbox(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be an e-mail address"):
        read_mailbox(text)


LOCAL = st.text(st.sampled_from("ab.+'\"<>,;: \r\n\0é@"), max_size=8)
DOMAIN = st.text(st.sampled_from("ab.-_[]:0 \r\né。@"), max_size=12)


@given(st.text(max_size=300) | st.builds("{}@{}.dev".format, LOCAL, DOMAIN))
def test_any_text_is_a_mailbox_that_a_header_can_hold_or_a_value_error(text: str) -> None:
    try:
        mailbox = read_mailbox(text)
    except ValueError as error:
        assert str(error) == "must be an e-mail address: a name, @ and a domain"
        return
    address = mailbox.address
    assert address.isascii() and address.isprintable() and not set(address) & set(' ,;:<>()[]"\\')
    assert address.count("@") == 1 and len(address) <= MAX_ADDRESS
    assert read_mailbox(address) == mailbox


@pytest.mark.parametrize(
    ("entry", "read"),
    [
        (" Spam.dev ", "spam.dev"), ("@spam.dev", "spam.dev"), ("Eve@Spam.dev", "eve@spam.dev"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_an_entry_of_a_list_is_an_address_or_a_domain(entry: str, read: str) -> None:
    assert read_entry(entry) == read


@pytest.mark.parametrize("entry", ["", "dev", "*.spam.dev", "@", "eve@", "spam.dev eve@spam.dev"])
def test_any_other_entry_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"must be an e-mail address"):
        read_entry(entry)
