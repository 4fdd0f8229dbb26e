"""What a secret must be like, whichever setting holds it."""

import re

from pydantic import SecretStr

# What people leave in a copied example file; searched for in the value, lower case.
PLACEHOLDER = re.compile(
    r"^$|change.?me|placeholder|your[-_ ]|example|xxx|\.\.\.|^<.*>$|^secret$|^token$|^test$|^dev|todo|^withheld$"
)
WITHHELD = "withheld"  # in place of a secret that a function on Lambda does not use
MIN_FOREIGN_SECRET = 8  # characters of a secret that another service has made
MIN_SECRET = 16  # characters of a secret that the deployment chooses


def text_of(secret: SecretStr | None) -> str:
    """The secret's text; '' for none."""
    return secret.get_secret_value() if secret else ""


def fault_of_secret(value: SecretStr | str | None) -> str | None:
    """What is wrong with a secret, in words; None if nothing is."""
    if value is None:
        return "is missing"
    text = value if isinstance(value, str) else value.get_secret_value()
    return "is a placeholder" if PLACEHOLDER.search(text.strip().lower()) else None


def is_guessable(key: str) -> bool:
    """Whether a key is a placeholder or too short."""
    return len(key) < MIN_SECRET or PLACEHOLDER.search(key.lower()) is not None


def is_plain(text: str) -> bool:
    """Whether a header can carry the text."""
    return text.isascii() and text.isprintable()
