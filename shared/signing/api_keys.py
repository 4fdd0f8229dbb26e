"""API keys that the store knows: ``sk_live_<id>_<random>``, of which the store has a digest only.

The id is public: a leaked key is named by it. The last ten characters of the random part are a tag that only
SIGNING_SECRET can make. So a key that is made up is refused before the store is asked for it, and a search for leaked
keys has no false alarms.
"""

import hashlib
import hmac
import re
import secrets
import string

from shared.frozen import dataclass
from shared.signing.derived import number_for

PREFIX = "sk_live_"
ID = re.compile(r"[a-z0-9]{12}")
LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH = 32  # characters of 62: 190 bits
TAG_LENGTH = 10  # 59 bits
FORM = re.compile(rf"{PREFIX}({ID.pattern})_([A-Za-z0-9]{{{RANDOM_LENGTH}}})([A-Za-z0-9]{{{TAG_LENGTH}}})")


@dataclass(frozen=True)
class MintedKey:
    """A new key: its public id, and the secret, which is shown once and never stored."""

    id: str
    secret: str


def mint(signing_secret: str) -> MintedKey:
    """Returns a new key."""
    key_id = "".join(secrets.choice(string.digits + string.ascii_lowercase) for _ in range(12))
    random = "".join(secrets.choice(LETTERS) for _ in range(RANDOM_LENGTH))
    return MintedKey(key_id, f"{PREFIX}{key_id}_{random}{_tag(signing_secret, key_id, random)}")


def looks_like_key(credential: str) -> bool:
    """Whether the credential claims to be a key of the store."""
    return credential.startswith(PREFIX)


def id_of(credential: str, signing_secret: str) -> str | None:
    """Returns the id of a key that this deployment has made; None for anything else. Asks no store."""
    parts = FORM.fullmatch(credential)
    if parts is None:
        return None
    key_id, random, tag = parts.groups()
    is_own = hmac.compare_digest(tag.encode(), _tag(signing_secret, key_id, random).encode())  # mutant: tag of a key
    return key_id if is_own else None


def digest_of_key(secret: str) -> str:
    """Returns what the store keeps of a key.

    One SHA-256 is enough: there are 2^190 keys to try, and a slow hash such as bcrypt would only slow down each call.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def is_key_of(secret: str, digest: str) -> bool:
    """Whether the store's digest is of this key. Compares bytes, in a time that does not depend on them."""
    return hmac.compare_digest(digest_of_key(secret).encode(), digest.encode("utf-8", "replace"))


def _tag(signing_secret: str, key_id: str, random: str) -> str:
    number, letters = number_for(signing_secret, "api key", key_id, random), ""
    for _ in range(TAG_LENGTH):
        number, digit = divmod(number, len(LETTERS))
        letters += LETTERS[digit]
    return letters
