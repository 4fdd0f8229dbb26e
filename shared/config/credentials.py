"""What a secret must be like, whichever setting holds it."""

import re

from pydantic import SecretStr

# What people leave in a copied example file, by how a message shows it. Whole texts and whole words: a random token of
# letters has "xxx" or "todo" somewhere in it once in some hundred times.
PLACEHOLDERS = {
    "<...>": re.compile(r"^(\w{1,20}[:_])?<.*>$", re.DOTALL),
    "xxx": re.compile(r"^([a-z0-9]{1,8}[-_])?x{3,}$", re.I),
    "...": re.compile(r"^.{0,16}(\.{3}|…)$"),
    "change-me": re.compile(r"(?<![a-z])change[-_ .]?me(?![a-z])", re.I),
    "placeholder": re.compile(r"(?<![a-z])placeholder(?![a-z])", re.I),
    "example": re.compile(r"(?<![a-z])example(?![a-z])", re.I),
    "your": re.compile(r"(?<![a-z0-9])your[-_ ]", re.I),
    "todo": re.compile(r"(?<![a-z0-9])todo(?![a-z0-9])", re.I),
    "a word such as secret": re.compile(
        r"^((dev|development|key|local|my|password|secret|test|token)([-_ .]|$))+$", re.I
    ),
    "withheld": re.compile(r"^withheld$"),
}
IN_QUOTES = "is in quotes; set it without them"
WITHHELD = "withheld"  # in place of a secret that a function on Lambda does not use
MIN_FOREIGN_SECRET = 8  # characters of a secret that another service has made
MIN_SECRET = 16  # characters of a secret that the deployment chooses


def text_of(secret: SecretStr | None) -> str:
    """The secret's text; '' for none."""
    return secret.get_secret_value() if secret else ""


def placeholder_in(text: str) -> str | None:
    """Which placeholder the text looks like, in words that are not the text's; None if it looks like none."""
    return next((shown for shown, pattern in PLACEHOLDERS.items() if pattern.search(text.strip())), None)


def placeholder_in_keys(text: str) -> str | None:
    """The same of a text ``name:key[,name:key...]``; its names may be any words, its keys are looked at one by one."""
    return "<...>" if PLACEHOLDERS["<...>"].search(text) else None if ":" in text else placeholder_in(text)


def fault_of_secret(value: SecretStr | str | None) -> str | None:
    """What is wrong with a secret, in words; None if nothing is."""
    if value is None:
        return "is missing"
    text = value if isinstance(value, str) else value.get_secret_value()
    if not text.strip():
        return "is empty"
    shown = placeholder_in(text)
    return f"is a placeholder ({shown})" if shown else None


def fault_of_key(key: str) -> str | None:
    """What is wrong with a secret that the deployment chooses, in words; None if nothing is."""
    return fault_of_secret(key) or (f"is shorter than {MIN_SECRET} characters" if len(key) < MIN_SECRET else None)


def fault_of_form(text: str) -> str | None:
    """Why a header should not carry the text, in words; None if it may."""
    if not (text.isascii() and text.isprintable()):
        return "must be printable ASCII"
    if is_quoted(text):
        return IN_QUOTES
    return "begins with Bearer; set the token alone" if text.lower().startswith("bearer ") else None


def is_quoted(text: str) -> bool:
    """Whether the text is in quotes, which a shell or a reader of ``.env`` takes off and a form does not."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`"
