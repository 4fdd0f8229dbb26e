"""What callers may ask for: a code for an address, a try of a code, and changes of the list of the blocked."""

import re
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from shared.mail.texts import Language
from shared.mailboxes import MAX_ADDRESS, read_entry, read_mailbox

MAX_ENTRIES = 100
CODE = re.compile(r"[0-9]{6}")


def _mailbox(text: str) -> str:
    read_mailbox(text)
    return text


def _client_address(text: str) -> str:
    try:
        if "%" in text:  # a zone means nothing on another machine (RFC 4007, section 6)
            raise ValueError
        ip_address(text)
    except ValueError:  # its message quotes the text
        raise ValueError("must be an IPv4 or IPv6 address") from None
    return text


def _code(text: str) -> str:
    if not CODE.fullmatch(text):
        raise ValueError("must be six digits")
    return text


Email = Annotated[str, Field(max_length=MAX_ADDRESS), AfterValidator(_mailbox)]
ClientAddress = Annotated[str, Field(max_length=64), AfterValidator(_client_address)]
Entry = Annotated[str, Field(max_length=MAX_ADDRESS), AfterValidator(read_entry)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class CodeRequest(_Asked):
    """The body of ``POST /api/verification/send``.

    ``client_address`` is that of the application's user, if the application's own server calls.
    """

    email: Email
    language: Language = "en"
    client_address: ClientAddress | None = None


class CodeCheck(_Asked):
    """The body of ``POST /api/verification/check``."""

    email: Email
    code: Annotated[str, AfterValidator(_code)]
    client_address: ClientAddress | None = None


class BlockedChange(_Asked):
    """The body of ``PATCH /api/operate/blocked``: entries are addresses, or domains with all that is in them."""

    add: Annotated[list[Entry], Field(max_length=MAX_ENTRIES)] = Field(default_factory=list)
    remove: Annotated[list[Entry], Field(max_length=MAX_ENTRIES)] = Field(default_factory=list)

    @field_validator("remove")
    @classmethod
    def _not_added_too(cls, remove: list[str], known: ValidationInfo) -> list[str]:
        if {*remove} & {*known.data.get("add", ())}:
            raise ValueError("must not name an entry that add names too")
        return remove


class BlockedQuery(BaseModel):
    """The query of ``GET /api/operate/blocked``; ``cursor`` is the last entry of the page before."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    cursor: Entry | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_ENTRIES)] = MAX_ENTRIES
