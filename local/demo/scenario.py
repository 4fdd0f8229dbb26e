"""The five jobs of the demo, and the settings that let their order be seen."""

from dataclasses import dataclass, field
from typing import Any

# Two slots for five jobs, so three wait. Delays are short because a person watches.
SETTINGS = {
    "SLUICE_ENV": "test",  # as development, but without reading .env
    "MAX_CONCURRENT_TASKS": "2",
    "QUEUE_RETRY_DELAY": "1000",
    "STATUS_CACHE_TTL": "1",
    "STATUS_CHECK_INTERVAL": "1",
    "FIRST_CHECK_AFTER": "1",
    "ALERT_LOG": "false",  # the bill that it shows is that of the jobs
}
TICK_SECONDS = 1.0

VIDEO = "acme/text-to-video"
IMAGE = "acme/text-to-image"


@dataclass(frozen=True)
class Order:
    """A job to submit; `note` says what is special about it."""

    user: str
    priority: int
    prompt: str
    simulate: dict[str, Any]
    note: str = ""
    model: str = VIDEO
    tier: str = "free"
    more: dict[str, Any] = field(default_factory=dict)

    def body(self, hook_url: str) -> dict[str, Any]:
        """Returns the body of its POST /api/submit, with the address that gets its event."""
        return {
            "model": self.model,
            "input": {"prompt": self.prompt, **self.more, "simulate": self.simulate},
            "user_id": self.user,
            "tier": self.tier,
            "priority": self.priority,
            "hook_url": hook_url,
        }


ORDERS = (
    Order(
        "ada", 2, "A lighthouse in a storm, waves breaking over the rocks, slow aerial shot",
        {"seconds": 4}, "first come", more={"duration": 5, "aspect_ratio": "16:9"},
    ),
    Order(
        "grace", 4, "Macro shot of a hummingbird drinking from a red flower, 120 fps",
        {"seconds": 2, "fail_times": 1, "error": "CUDA out of memory"}, "first run fails", more={"duration": 5},
    ),
    Order(
        "ada", 1, "Time lapse of a city skyline from dusk to night",
        {"seconds": 2.5}, "lowest priority", more={"duration": 10},
    ),
    Order(
        "ada", 3, "Watercolour of a fox asleep under an oak, soft morning light",
        {"seconds": 2, "output": "png"}, "an image", model=IMAGE, more={"width": 1024, "height": 768},
    ),
    Order(
        "grace", 5, "A paper boat sails down a rainy street, cinematic, shallow depth of field",
        {"seconds": 3, "webhook": "lose"}, "webhook gets lost", tier="premium", more={"duration": 5},
    ),
)  # fmt: skip
