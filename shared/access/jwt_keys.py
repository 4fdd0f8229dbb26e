"""Keys that verify tokens, each with the only algorithm that it is for.

The algorithm follows from the key and never from the token: a token that names another one is refused, so a public
key cannot be used as an HMAC secret (RFC 8725, sections 2.1 and 3.1).
"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.access.errors import TokenRefused
from shared.access.forms import UNREADABLE, Header
from shared.frozen import dataclass
from shared.json_value import Json

if TYPE_CHECKING:
    from jwt.algorithms import AllowedPublicKeys

HMAC = "HS256"
MIN_RSA = 2048  # bits (RFC 7518, section 3.3)
MAX_KEYS = 50  # of a key set that are read


@dataclass(frozen=True)
class Key:
    """A key, and the algorithm of its signatures."""

    value: "AllowedPublicKeys | bytes"
    algorithm: str


def verified(token: str, header: Header, key: Key, *, issuer: str, audience: str) -> Mapping[str, Json]:
    """Returns the claims of a token that the key has signed, for this audience; its times are not checked yet.

    Raises TokenRefused.
    """
    import jwt  # only callers with a token need it

    if header.algorithm != key.algorithm:  # before the library, which checks it too
        raise TokenRefused("The token is signed with another algorithm.")
    unchecked = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "sub", "jti")}  # by the library
    options: Any = {"require": ["exp", "sub"], **unchecked}
    try:
        claims: dict[str, Json] = jwt.decode(
            token, key.value, algorithms=[key.algorithm], issuer=issuer, audience=audience, options=options
        )
    except jwt.MissingRequiredClaimError:
        raise TokenRefused("The token lacks a claim: exp, sub, iss and aud are required.") from None
    except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
        raise TokenRefused("The token is of another issuer, or for another audience.") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        is_text = isinstance(error, jwt.DecodeError) and not isinstance(error, jwt.InvalidSignatureError)
        raise TokenRefused(UNREADABLE if is_text else "The token's signature is not valid.") from None
    if not isinstance(claims, dict):
        raise TokenRefused(UNREADABLE)
    return claims


def key_of_pem(text: str) -> Key | None:
    """Returns a public key in PEM: RSA, EC on P-256 or Ed25519; None for anything else. Needs ``cryptography``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return _of_public_key(load_pem_public_key(text.replace("\\n", "\n").encode()))
    except (ValueError, UnsupportedAlgorithm):
        return None


def keys_of_set(document: Json) -> dict[str, Key]:
    """Returns the keys of a JWK set (RFC 7517) that can verify, by their id; raises ValueError if it is no such set."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no key set")
    found: dict[str, Key] = {}
    for entry in listed[:MAX_KEYS]:
        if isinstance(entry, dict) and entry.get("use", "sig") == "sig" and isinstance(entry.get("kid", ""), str):
            key = _of_jwk(entry)
            if key is not None and entry.get("alg", key.algorithm) == key.algorithm:
                found[str(entry.get("kid", ""))] = key
    return found


def _of_jwk(entry: Mapping[str, Json]) -> Key | None:
    import jwt

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weak keys, which are refused below
            return _of_public_key(jwt.PyJWK(dict(entry)).key)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


def _of_public_key(key: object) -> Key | None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA:
        return Key(key, "RS256")
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return Key(key, "ES256")
    return Key(key, "EdDSA") if isinstance(key, Ed25519PublicKey) else None
