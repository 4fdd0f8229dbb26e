"""Every setting of a deployment, read once from the environment, checked before anything starts."""

import functools
import os
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from shared.config.hooks import HookSettings
from shared.config.hosting import HostingSettings, on_a_platform
from shared.config.providers import MAX_PROVIDERS, NUMBERS, REGISTRY, Listing
from shared.config.qstash import QStashSettings
from shared.config.queues import MAX_QUEUES, Queue, QueueOptions
from shared.config.storage import StorageSettings
from shared.config.timing import contradictions
from shared.signing.webhooks import secret_key

Environment = Literal["development", "test", "preview", "production"]
Policy = Literal["offset", "fair", "multiplicative"]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]

PER_NAME = r"^([a-z0-9_-]+:[0-9]+([.][0-9]+)?( *, *|$))*$"
# What people leave in a copied example file; searched for in the value, lower case.
PLACEHOLDER = re.compile(
    r"^$|change.?me|placeholder|your[-_ ]|example|xxx|\.\.\.|^<.*>$|^secret$|^token$|^test$|^dev|todo"
)
# Names outside development whose absence stops the start, in the order they are reported.
REQUIRED = ("api_keys", "signing_secret", "queue_processor_token", "replicate_api_token")
MIN_SECRET = 16
MIN_CREATES, MAX_CREATES = 0.01, 60_000  # a minute; the token bucket counts in whole ms


class Settings(StorageSettings, HookSettings, QStashSettings, HostingSettings):
    """The configuration of one deployment. Field names are the environment variables' names in lower case."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True, populate_by_name=True
    )

    # Not named `environment`: pydantic-settings would take a variable of that name, which many platforms set.
    sluice_env: Environment = "production"

    # The store
    upstash_redis_rest_url: str | None = Field(
        None, validation_alias=AliasChoices("upstash_redis_rest_url", "kv_rest_api_url")
    )
    upstash_redis_rest_token: SecretStr | None = Field(
        None, validation_alias=AliasChoices("upstash_redis_rest_token", "kv_rest_api_token")
    )
    use_redis_for_tasks: bool = True
    queue_prefix: str = Field("", pattern=r"^[A-Za-z0-9:_.-]{0,64}$")
    task_ttl: int = Field(604_800, ge=86_400)  # s; a terminal job is its own idempotency record, so never below a day

    # Who may call
    api_keys: SecretStr | None = None  # name:key[,name:key...]
    signing_secret: SecretStr | None = None  # job ids from idempotency keys, and the nonce in webhook URLs
    queue_processor_token: SecretStr | None = None
    operator_token: SecretStr | None = None  # who may pause, limit and redrive; without it nobody may
    cron_secret: SecretStr | None = None  # Vercel wants 16 characters or more

    # The providers, and how they reach us
    providers: str = Field("replicate", pattern=r"^[a-z0-9_-]+( *, *[a-z0-9_-]+)*$")  # those this deployment has
    # Below what an account allows: name:creates a minute[,...], and name:predictions at once[,...]
    provider_rates: str = Field("", pattern=PER_NAME)
    provider_concurrency: str = Field("", pattern=PER_NAME)
    replicate_api_token: SecretStr | None = None
    replicate_base_url: str = "https://api.replicate.com/v1"
    replicate_webhook_secret: SecretStr | None = None  # several, separated by commas, while one is being rotated
    public_base_url: str | None = None

    # Limits and order
    max_concurrent_tasks: int = Field(5, ge=1, le=1000)
    max_user_tasks: int = Field(3, ge=1, le=1000)  # that may be ready or at the provider
    max_user_queued: int | None = Field(None, ge=1)  # tasks a user may have in all; default: MAX_USER_TASKS
    max_queue_size: int = Field(1000, ge=1)
    queue_concurrency: int | None = Field(None, ge=1)  # of each queue that names none; default: the system's limit
    storyboard_concurrency: int = Field(3, ge=1)
    # More queues, name:concurrency[,...]. Append only: a queue's place here is its place in the store.
    queues: str = Field("", pattern=r"^([a-z][a-z0-9_-]{0,31}(:[1-9][0-9]{0,3})?( *, *|$))*$")
    # JSON: {"video": {"concurrency": 4, "retries": 1, "retry_delay": 5000, "ttl": 3600, "deadline": 900}, ...}
    queue_options: dict[str, QueueOptions] = Field(default_factory=dict)
    queue_ttl: float = Field(86_400.0, gt=0, le=2_592_000)  # s; a job that has waited so long ends failed, `expired`
    default_priority: int = Field(3, ge=1, le=5)
    priority_policy: Policy = "offset"
    priority_seconds_per_point: Seconds = 1.0
    # The fair policy: a head start in grants for each point, and how many grants each tier gets in the same time
    priority_grants_per_point: float = Field(0.01, ge=0, le=10)
    tier_weights: str = Field(
        "free:1,premium:2,pro:4", pattern=r"^(free|premium|pro):[1-9][0-9]?(,(free|premium|pro):[1-9][0-9]?)*$"
    )
    queue_max_retries: int = Field(3, ge=0, le=20)
    queue_retry_delay: Milliseconds = 60_000
    circuit_failures: int = Field(5, ge=0)  # of a model in a row that stop its jobs for a while; 0: never
    circuit_pause: Seconds = 30.0  # at first; doubled each time its probe fails, up to 16 times as long
    dispatch_on_submit: bool = True
    status_cache_ttl: Seconds = 2.0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    # Timing margins; shared/config/timing.py says how they must stand to each other
    store_connect_timeout: Seconds = 1.0
    store_try_timeout: Seconds = 2.0
    store_total_timeout: Seconds = 5.0
    provider_timeout: Seconds = 15.0
    function_max_duration: Seconds = 60.0
    lease: Seconds = 120.0
    cancel_after: Seconds = Field(1800.0, ge=5)
    adoption_margin: Seconds = 90.0
    webhook_tolerance: Seconds = 300.0
    first_check_after: Seconds = 30.0  # a running job younger than this is not asked about where webhooks work
    check_interval: Seconds = 30.0  # between two questions of ticks about one job
    status_check_interval: Seconds = 2.0  # between two questions of status reads about one job, fleet-wide
    waiting_check_interval: Seconds = 10.0  # how long a job waits before reading its status looks for free capacity
    tick_period: Seconds = 60.0
    # Multiplies the fixed margins of timing.py; below 1 only to let a test see hours in a minute.
    timing_scale: float = Field(1.0, gt=0, le=1)
    tick_budget: Seconds = 45.0

    @property
    def environment(self) -> Environment:
        return self.sluice_env

    @property
    def is_development(self) -> bool:
        return self.sluice_env in ("development", "test")

    @property
    def storage_mode(self) -> Literal["redis", "memory"]:
        return "redis" if self.use_redis_for_tasks else "memory"

    @property
    def prefix(self) -> str:
        """What every key begins with; differs per environment, so that a preview never claims production's jobs."""
        return self.queue_prefix or f"sluice:{self.environment}"

    @property
    def signing_key(self) -> str:
        """The key of ids and nonces; only development may do without a secret one."""
        return self.signing_secret.get_secret_value() if self.signing_secret else "development"

    @functools.cached_property
    def callers(self) -> dict[str, str]:
        """The API keys by name."""
        raw = self._secret("api_keys")
        pairs = (pair.strip().partition(":") for pair in raw.split(",") if pair.strip())
        return {name.strip(): key.strip() for name, _, key in pairs}

    @functools.cached_property
    def queue_list(self) -> tuple[Queue, ...]:
        """All queues in the order of their numbers."""
        common = self.queue_concurrency or self.max_concurrent_tasks
        named = [("video", common), ("storyboard", self.storyboard_concurrency)]
        for entry in filter(None, (part.strip() for part in self.queues.split(","))):
            name, _, concurrency = entry.partition(":")
            named.append((name.strip(), int(concurrency) if concurrency.strip() else common))
        return tuple(self._queue(name, number, concurrency) for number, (name, concurrency) in enumerate(named))

    def _queue(self, name: str, number: int, concurrency: int) -> Queue:
        said = self.queue_options.get(name, QueueOptions())
        retries = self.queue_max_retries if said.retries is None else said.retries
        return Queue(
            name, number,
            concurrency=said.concurrency or concurrency,
            max_attempts=1 + retries,
            retry_delay=self.queue_retry_delay if said.retry_delay is None else said.retry_delay,
            ttl=said.ttl or self.queue_ttl,
            deadline=said.deadline or self.cancel_after,
        )  # fmt: skip

    @functools.cached_property
    def provider_names(self) -> tuple[str, ...]:
        """The providers that jobs may name."""
        return tuple(name.strip() for name in self.providers.split(","))

    def provider_limits(self, listing: Listing) -> tuple[int, float, int]:
        """How many predictions may run at the provider at once, its creates a minute, and how many of them at once."""
        rate, most = _per_name(self.provider_rates), _per_name(self.provider_concurrency)
        per_minute = rate.get(listing.name, listing.per_minute)
        # Replicate: "6 requests per minute with a burst of 1" for accounts low in credit; so a tenth, and 1 at least.
        burst = max(1, int(per_minute / 10)) if listing.name in rate else listing.burst
        concurrency = int(most.get(listing.name, listing.concurrency or self.max_concurrent_tasks))
        return concurrency, per_minute, burst

    def adoption(self, queue: Queue, listing: Listing) -> float:
        """After how many s beyond its lease a submission is surely over at its provider, and has been told of."""
        return max(queue.deadline, listing.run_limit) + self.adoption_margin

    @property
    def user_queued(self) -> int:
        """How many tasks a user may have in all."""
        return max(self.max_user_queued or 0, self.max_user_tasks)

    @functools.cached_property
    def weights(self) -> dict[str, int]:
        """Under the fair policy, how many grants each tier gets in the time in which weight 1 gets one."""
        return {"free": 1, "premium": 1, "pro": 1} | {k: int(v) for k, v in _per_name(self.tier_weights).items()}

    @property
    def replicate_webhook_secrets(self) -> tuple[str, ...]:
        raw = self._secret("replicate_webhook_secret")
        return tuple(part.strip() for part in raw.split(",") if part.strip())

    @property
    def webhooks_wanted(self) -> bool:
        """Whether providers are given a webhook URL: they demand https; only a simulator on loopback takes http."""
        base = self.public_base_url or ""
        if base.startswith("https://"):
            return True
        return self.is_development and is_loopback(base) and is_loopback(self.replicate_base_url)

    def _secret(self, name: str) -> str:
        value = getattr(self, name)
        return value.get_secret_value() if value else ""

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: Any) -> Any:
        """Text without the blanks and newlines that pasting and ``echo`` leave at its ends."""
        return value.strip() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> "Settings":
        problems = [*self._missing(), *self._short(), *self._malformed(), *contradictions(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _missing(self) -> list[str]:
        if self.is_development:
            return []
        wanted = [name for name in REQUIRED if name != "replicate_api_token" or "replicate" in self.provider_names]
        if self.use_redis_for_tasks:
            wanted = ["upstash_redis_rest_url", "upstash_redis_rest_token", *wanted]
        if self.webhooks_wanted and "replicate" in self.provider_names:
            wanted.append("replicate_webhook_secret")
        if self.cron_secret is not None:
            wanted.append("cron_secret")
        problems = [f"{name.upper()} {fault}" for name in wanted if (fault := fault_of_secret(getattr(self, name)))]
        return problems

    def _short(self) -> list[str]:
        """Secrets that could be guessed, and those that could not be sent in a header."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        texts = {name: value.get_secret_value() for name, value in named.items() if isinstance(value, SecretStr)}
        problems = [f"{name.upper()} must be printable ASCII" for name, text in texts.items() if not is_plain(text)]
        if self.is_development:
            return problems
        ours = {
            name.upper(): texts[name]
            for name in ("signing_secret", "queue_processor_token", "operator_token")
            if name in texts
        }
        ours |= {"CRON_SECRET": texts["cron_secret"]} if "cron_secret" in texts else {}
        weak = [name for name, text in ours.items() if len(text) < MIN_SECRET]
        problems += [f"{name} must have {MIN_SECRET} characters or more" for name in weak]
        guessable = [n for n, key in self.callers.items() if len(key) < MIN_SECRET or PLACEHOLDER.search(key.lower())]
        return problems + [
            f"API_KEYS: the key named {name!r} is a placeholder or shorter than {MIN_SECRET}" for name in guessable
        ]

    def _malformed(self) -> list[str]:
        problems = []
        if any(not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) or not key for name, key in self.callers.items()):
            problems.append("API_KEYS must be name:key[,name:key...] with names of letters, digits, . _ -")
        pairs = len([pair for pair in (self._secret("api_keys")).split(",") if pair.strip()])
        if pairs != len(self.callers) or pairs != len(set(self.callers.values())):
            problems.append("API_KEYS names a key twice, or gives two names the same key")
        if self.cron_secret and self.cron_secret == self.queue_processor_token:
            problems.append("CRON_SECRET and QUEUE_PROCESSOR_TOKEN must differ: a GET with the first ticks")
        problems += self.storage_faults(is_development=self.is_development, is_on_a_platform=on_a_platform())
        problems += self.hook_faults(frozenset(self.callers), is_development=self.is_development)
        return problems + self.qstash_faults() + self._queue_faults() + self._misplaced() + self._webhook_secrets()

    def _queue_faults(self) -> list[str]:
        problems = []
        names = [queue.name for queue in self.queue_list]
        if len(names) != len(set(names)) or len(names) > MAX_QUEUES:
            problems.append(f"QUEUES names a queue twice, or makes more than {MAX_QUEUES} of them")
        if not set(self.queue_options) <= set(names):
            problems.append("QUEUE_OPTIONS names a queue that does not exist")
        limited = {*_per_name(self.provider_rates), *_per_name(self.provider_concurrency)}
        if not {*self.provider_names, *limited} <= set(NUMBERS) or len(REGISTRY) > MAX_PROVIDERS:
            problems.append(f"PROVIDERS, PROVIDER_RATES and PROVIDER_CONCURRENCY may name: {', '.join(NUMBERS)}")
        per_name = (self.provider_rates, self.provider_concurrency, self.tier_weights)
        lists = [
            self.provider_names,
            *([part.partition(":")[0].strip() for part in text.split(",")] for text in per_name),
        ]
        if any(len(names) != len(set(names)) for names in lists):
            problems.append("PROVIDERS, PROVIDER_RATES, PROVIDER_CONCURRENCY or TIER_WEIGHTS gives a name twice")
        if any(most < 1 or most % 1 for most in _per_name(self.provider_concurrency).values()):
            problems.append("PROVIDER_CONCURRENCY must be whole and at least 1; to stop a provider, pause it")
        if not all(MIN_CREATES <= rate <= MAX_CREATES for rate in _per_name(self.provider_rates).values()):
            problems.append(f"PROVIDER_RATES must be {MIN_CREATES} to {MAX_CREATES}; to stop a provider, pause it")
        return problems

    def _webhook_secrets(self) -> list[str]:
        try:
            for secret in self.replicate_webhook_secrets:
                secret_key(secret)
        except ValueError:
            return ["REPLICATE_WEBHOOK_SECRET must be whsec_ followed by base64; several are separated by commas"]
        return []

    def _misplaced(self) -> list[str]:
        problems = []
        url = self.upstash_redis_rest_url or ""
        if url.startswith(("redis://", "rediss://")):
            problems.append("UPSTASH_REDIS_REST_URL is a TCP address; use the REST URL, which begins with https://")
        if self.timing_scale != 1 and not self.is_development:
            problems.append("TIMING_SCALE is for tests: shorter margins than the platforms' own would break promises")
        if self.is_development and on_a_platform() and os.environ.get("VERCEL_ENV") != "development":
            problems.append("SLUICE_ENV is development or test, whose known secrets must not run on Vercel or Lambda")
        if not self.use_redis_for_tasks and on_a_platform():
            problems.append("USE_REDIS_FOR_TASKS=false keeps jobs in one process and cannot run on Vercel or Lambda")
        return problems


def fault_of_secret(value: SecretStr | str | None) -> str | None:
    """What is wrong with a secret, in words; None if nothing is."""
    if value is None:
        return "is missing"
    text = value if isinstance(value, str) else value.get_secret_value()
    return "is a placeholder" if PLACEHOLDER.search(text.strip().lower()) else None


def _per_name(text: str) -> dict[str, float]:
    """The numbers of ``name:number[,...]``."""
    pairs = (part.strip().partition(":") for part in text.split(",") if part.strip())
    return {name: float(number) for name, _, number in pairs}


def is_plain(text: str) -> bool:
    """Whether a header can carry the text."""
    return text.isascii() and text.isprintable()


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
