"""Which providers exist, and what each allows an account by default. Loads none of them."""

import functools

from pydantic import Field, SecretStr

from shared.config.addresses import is_loopback_url
from shared.config.credentials import MIN_SECRET, placeholder_in, text_of
from shared.config.hosting import HostingSettings
from shared.config.quantities import NUMBERS_BY_NAME, has_repeated_name, numbers_by_name
from shared.config.queues import Queue, QueueSettings
from shared.frozen import dataclass
from shared.signing.webhooks import secret_key

MAX_PROVIDERS = 8  # final: jobs in a store are numbered with it; see shared/jobqueue/constants.py
MIN_CREATES, MAX_CREATES = 0.01, 60_000  # a minute; the token bucket counts in whole ms


@dataclass(frozen=True)
class Listing:
    """What the queue must know of a provider before it is loaded.

    ``per_minute`` is how many creates its token bucket lets pass, ``burst`` how many of them at once.
    ``concurrency`` is how many predictions it runs for an account; None: only the system's limit holds.
    ``run_limit`` (s) is for a provider that accepts no deadline: after this time a run is surely over.
    ``file_hosts`` and their subdomains hold its results. ``has_list``: a lost prediction can be looked for.
    """

    name: str
    target: str  # module:class
    per_minute: float
    burst: int
    concurrency: int | None = None
    run_limit: float = 0.0
    file_hosts: tuple[str, ...] = ()
    has_list: bool = False


# Append only: a provider's place here is its number in the store.
REGISTRY = (
    # 600 creates a minute and short bursts (Replicate, topics/predictions/rate-limits); a tenth is left to others.
    # Results are at replicate.delivery (Replicate, topics/predictions/output-files).
    Listing(
        "replicate",
        "shared.providers.replicate_api:Replicate",
        per_minute=540,
        burst=54,
        file_hosts=("replicate.delivery",),
        has_list=True,
    ),
    # Account level Bronze: 5 videos a minute, 3 at once (WaveSpeed, account levels). It ends no run by itself.
    # Its pages show results at cdn.wavespeed.ai (get-result). Callers publish URLs of the CloudFront host instead.
    Listing(
        "wavespeed",
        "shared.providers.wavespeed:WaveSpeed",
        per_minute=5,
        burst=3,
        concurrency=3,
        run_limit=3600,
        file_hosts=("wavespeed.ai", "d1q70pf5vjeyhc.cloudfront.net"),
    ),
)
NUMBERS = {listing.name: number for number, listing in enumerate(REGISTRY)}


class ProviderSettings(HostingSettings, QueueSettings):
    """The providers of a deployment and their limits; Replicate's access. WaveSpeed's is read by its own module."""

    providers: str = Field("replicate", pattern=r"^[a-z0-9_-]+( *, *[a-z0-9_-]+)*$")
    # Below what an account allows: name:creates a minute[,...], and name:predictions at once[,...]
    provider_rates: str = Field("", pattern=NUMBERS_BY_NAME)
    provider_concurrency: str = Field("", pattern=NUMBERS_BY_NAME)
    replicate_api_token: SecretStr | None = None
    replicate_base_url: str = "https://api.replicate.com/v1"
    # Whether this deployment alone makes predictions with the account: else a listed one may be another's.
    replicate_account_is_own: bool = False
    # Whether a submission of unknown outcome keeps its slot where no list can be asked, until it is surely over.
    hold_unlisted_submissions: bool = True
    replicate_webhook_secret: SecretStr | None = None  # several, separated by commas, while one is being rotated

    @functools.cached_property
    def provider_names(self) -> tuple[str, ...]:
        """The providers that jobs may name."""
        return tuple(name.strip() for name in self.providers.split(","))

    @property
    def replicate_webhook_secrets(self) -> tuple[str, ...]:
        text = text_of(self.replicate_webhook_secret)
        if self.is_development and placeholder_in(text):
            return ()  # of a copied .env.example
        return tuple(part.strip() for part in text.split(",") if part.strip())

    @property
    def webhooks_wanted(self) -> bool:
        """Whether providers get a webhook URL: they demand https; only a simulator on loopback takes http."""
        base = self.public_base_url or ""
        if base.startswith("https://"):
            return True
        return self.is_development and is_loopback_url(base) and is_loopback_url(self.replicate_base_url)

    def provider_limits(self, listing: Listing) -> tuple[int, float, int]:
        """How many predictions may run at the provider at once, its creates a minute, and how many of them at once."""
        rates, limits = numbers_by_name(self.provider_rates), numbers_by_name(self.provider_concurrency)
        per_minute = rates.get(listing.name, listing.per_minute)
        # Replicate: "6 requests per minute with a burst of 1" for accounts low in credit; so a tenth, and 1 at least.
        burst = max(1, int(per_minute / 10)) if listing.name in rates else listing.burst
        concurrency = int(limits.get(listing.name, listing.concurrency or self.max_concurrent_tasks))
        return concurrency, per_minute, burst

    def adoption(self, queue: Queue, listing: Listing) -> float:
        """The s from a lost submission's lease to when it is surely over, and its webhook would have arrived.

        0 if the deployment does not wait for that where the provider has no list.
        """
        if not listing.has_list and not self.hold_unlisted_submissions:
            return 0.0
        return max(queue.deadline, listing.run_limit) + self.adoption_margin

    def faults(self) -> list[str]:
        absent = self._absent_of_replicate()
        is_named = any(line.startswith("REPLICATE_WEBHOOK_SECRET") for line in absent)
        problems = [*absent, *([] if is_named else self._faulty_secrets()), *self._faulty_limits()]
        problems += self._unreachable("replicate_base_url")
        is_real = not self.is_development and not is_loopback_url(self.replicate_base_url)
        if is_real and is_loopback_url(self.public_base_url or ""):
            problems.append("PUBLIC_BASE_URL names this machine, where no webhook of a provider arrives")
        rates, limits = numbers_by_name(self.provider_rates), numbers_by_name(self.provider_concurrency)
        if not {*self.provider_names, *rates, *limits} <= set(NUMBERS) or len(REGISTRY) > MAX_PROVIDERS:
            problems.append(f"PROVIDERS, PROVIDER_RATES and PROVIDER_CONCURRENCY may name: {', '.join(NUMBERS)}")
        if any(map(has_repeated_name, (self.providers, self.provider_rates, self.provider_concurrency))):
            problems.append("PROVIDERS, PROVIDER_RATES or PROVIDER_CONCURRENCY gives a name twice")
        return problems + super().faults()

    def _absent_of_replicate(self) -> list[str]:
        if "replicate" not in self.provider_names:
            return []
        required = ["replicate_api_token", *(["replicate_webhook_secret"] if self.webhooks_wanted else [])]
        return self._absent(*required)

    def _faulty_limits(self) -> list[str]:
        problems = []
        if any(limit < 1 or limit % 1 for limit in numbers_by_name(self.provider_concurrency).values()):
            problems.append("PROVIDER_CONCURRENCY must be whole and at least 1; to stop a provider, pause it")
        if not all(MIN_CREATES <= rate <= MAX_CREATES for rate in numbers_by_name(self.provider_rates).values()):
            problems.append(f"PROVIDER_RATES must be {MIN_CREATES} to {MAX_CREATES}; to stop a provider, pause it")
        return problems

    def _faulty_secrets(self) -> list[str]:
        try:
            keys = [secret_key(secret) for secret in self.replicate_webhook_secrets]
        except ValueError:
            if shown := placeholder_in(text_of(self.replicate_webhook_secret)):
                return [f"REPLICATE_WEBHOOK_SECRET is a placeholder ({shown})"]
            return ["REPLICATE_WEBHOOK_SECRET must be whsec_ followed by base64; several are separated by commas"]
        if not self.is_development and any(len(key) < MIN_SECRET for key in keys):
            return [f"REPLICATE_WEBHOOK_SECRET must have {MIN_SECRET} bytes or more"]
        return []
