"""Which providers there are, and what each allows an account by default. Loads none of them."""

from dataclasses import dataclass

MAX_PROVIDERS = 8  # as in shared/jobqueue/scripts/prelude.lua


@dataclass(frozen=True)
class Listing:
    """A provider as the queue must know it before it is loaded.

    ``per_minute`` is how many creates its token bucket lets pass, ``burst`` how many of them at once, ``concurrency``
    how many predictions it runs for an account; None is no limit of its own. ``run_limit`` (s) is after what time a run
    is surely over at a provider that cannot be told a deadline. ``file_hosts`` are where its results lie, with all
    their subdomains.
    """

    name: str
    target: str  # module:class
    per_minute: float
    burst: int
    concurrency: int | None = None
    run_limit: float = 0.0
    file_hosts: tuple[str, ...] = ()


# Append only: a provider's place here is its place in the store.
REGISTRY = (
    # 600 creates a minute and short bursts (Replicate, topics/predictions/rate-limits); a tenth is left to others.
    # Results lie at replicate.delivery (Replicate, topics/predictions/output-files).
    Listing(
        "replicate",
        "shared.providers.replicate_api:Replicate",
        per_minute=540,
        burst=54,
        file_hosts=("replicate.delivery",),
    ),
    # Account level Bronze: 5 videos a minute, 3 at once (WaveSpeed, account levels). It ends no run by itself.
    # Its pages show results at cdn.wavespeed.ai (get-result); RESULT_HOSTS adds others.
    Listing(
        "wavespeed",
        "shared.providers.wavespeed:WaveSpeed",
        per_minute=5,
        burst=3,
        concurrency=3,
        run_limit=3600,
        file_hosts=("wavespeed.ai",),
    ),
)
NUMBERS = {listing.name: number for number, listing in enumerate(REGISTRY)}
