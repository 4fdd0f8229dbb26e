"""What can happen to a job at the provider, how often, and how the job must end then."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mode:
    """One behaviour of the simulated provider (``simulate``, see local/simulator) and the end that must follow.

    ``codes``: the job must fail with one of these errors. ``is_hopeless``: it must fail once its attempts are
    used up. With neither, it must complete.
    """

    name: str
    weight: float
    simulate: Mapping[str, Any] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    is_hopeless: bool = False


def _lost(create: str, **more: Any) -> dict[str, Any]:
    """A first create whose answer is lost; the second one gets its answer."""
    return {"create": create, "create_times": 1, **more}


LATE = 18.0  # s; after every adoption window
MODES = (
    Mode("plain", 50),
    Mode("webhook lost", 6, {"webhook": "lose"}),
    Mode("webhook twice", 5, {"webhook": "duplicate"}),
    Mode("webhook delayed", 5, {"webhook": "delay", "webhook_delay": 1.2}),
    Mode("webhook late", 3, {"webhook": "late", "webhook_delay": LATE}),
    Mode("webhook overtakes", 6, {"webhook": "overtake"}),
    Mode("fails once", 4, {"fail_times": 1, "error": "CUDA out of memory"}),
    Mode("fails twice, webhooks lost", 1, {"fail_times": 2, "error": "interrupted", "webhook": "lose"}),
    Mode("fails always", 1, {"outcome": "fail", "error": "Director: unexpected error"}, is_hopeless=True),
    Mode("flagged", 1.5, {"outcome": "fail", "error": "NSFW content detected"}, codes=("content_policy",)),
    Mode("stalls", 0.7, {"outcome": "stall"}, codes=("expired",)),
    Mode("refused", 1.5, {"create": "422"}, codes=("invalid_input",)),
    Mode("throttled", 0.5, {"create": "429", "create_times": 1, "retry_after": 1}),
    Mode("created, answer dropped", 2.5, _lost("apply_then_drop")),
    Mode("created, answer hangs", 1.2, _lost("apply_then_hang")),
    Mode("created, answer dropped, webhook lost", 1.7, _lost("apply_then_drop", webhook="lose")),
    Mode("created, answer hangs, webhook late", 1, _lost("apply_then_hang", webhook="late", webhook_delay=LATE)),
    Mode("created, answer dropped, fails", 1, _lost("apply_then_drop", fail_times=1, error="out of memory")),
    Mode("dropped before", 1.0, _lost("drop_before")),
    Mode("hangs", 0.8, _lost("hang")),
    Mode("answers 500", 0.7, _lost("500")),
    Mode("answers 503", 0.5, _lost("503")),
)
# Of the guilty parties; see guilty.py.
LOCKED = Mode("may not be run", 0, codes=("provider_refused", "billing"))
FAILING = Mode("fails always", 0, {"outcome": "fail", "error": "Director: unexpected error"}, is_hopeless=True)
FLOODING = Mode("flood", 0)
LOST = tuple(mode for mode in MODES if "create_times" in mode.simulate)
