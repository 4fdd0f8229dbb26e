"""JWTs of the application's own issuer, which prove users."""

from pydantic import SecretStr

from shared.config.access import AccessSettings
from shared.config.credentials import text_of

MIN_HMAC = 32  # characters (RFC 7518, section 3.2)


class TokenSettings(AccessSettings):
    """The issuer of users' JWTs, and what verifies them: one of a secret, a public key or a key set."""

    jwt_secret: SecretStr | None = None  # HS256
    jwt_public_key: str = ""  # PEM: RS256, ES256 or EdDSA, as the key is; its line breaks may be written \\n
    jwt_jwks_url: str = ""  # a key set of such keys
    jwt_issuer: str = ""  # iss
    jwt_audience: str = ""  # aud
    jwt_tier_claim: str = "tier"
    jwt_owner: str = ""  # the name of the API key that owns these users' jobs; default: the only one

    @property
    def owner_of_jwts(self) -> str:
        """The name of the API key that owns the jobs of users whom the issuer's JWTs prove."""
        return self.jwt_owner or next(iter(self.callers), "")

    def faults(self) -> list[str]:
        values = {
            "JWT_SECRET": text_of(self.jwt_secret),
            "JWT_PUBLIC_KEY": self.jwt_public_key,
            "JWT_JWKS_URL": self.jwt_jwks_url,
        }
        given = [name for name, value in values.items() if value]
        problems = self._unreachable("jwt_jwks_url")
        if len(given) > 1:
            problems.append(f"{' and '.join(given)} are set; one of them verifies JWTs")
        if given:
            problems += self._faults_of_issuer(given[0])
        if self.jwt_secret is not None and len(text_of(self.jwt_secret)) < MIN_HMAC:
            problems.append(f"JWT_SECRET must have {MIN_HMAC} characters or more")
        others = {
            "SIGNING_SECRET": self.signing_secret,
            "OPERATOR_TOKEN": self.operator_token,
            "METRICS_TOKEN": self.metrics_token,
            "QUEUE_PROCESSOR_TOKEN": self.queue_processor_token,
            "CRON_SECRET": self.cron_secret,
        }
        same = [name for name, secret in others.items() if secret is not None and secret == self.jwt_secret]
        if self.jwt_secret is not None and text_of(self.jwt_secret) in self.callers.values():
            same.append("each key of API_KEYS")
        return problems + [f"JWT_SECRET and {name} must differ" for name in same] + super().faults()

    def _faults_of_issuer(self, given: str) -> list[str]:
        named = {"JWT_ISSUER": self.jwt_issuer, "JWT_AUDIENCE": self.jwt_audience}
        absent = [name for name, value in named.items() if not value]
        problems = [f"{name} is missing: {given} is set, and each JWT must have both" for name in absent]
        if self.jwt_owner:
            return problems + self.unknown_names("JWT_OWNER", [self.jwt_owner])
        if len(self.callers) > 1:
            problems.append("JWT_OWNER is missing: API_KEYS has several names, and one must own these users' jobs")
        return problems
