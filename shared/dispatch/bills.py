"""What a provider's report says of a run's cost, as the scripts take it; cost_of_run in spending.lua reads it."""

from shared.config.settings import Settings
from shared.providers.base import Prediction

FREE = "free"  # surely not charged: nothing was made, or it ended before it began


def bill_of(settings: Settings, prediction: Prediction) -> str:
    """Returns the numbers of the report that any price asks for, and whether the run failed; '' without prices."""
    if not settings.prices:
        return ""
    if prediction.is_free:  # mutant: free run
        return FREE
    known = {name: prediction.metrics[name] for name in settings.priced_metrics if name in prediction.metrics}
    parts = [f"{name}={value:.6f}" for name, value in sorted(known.items())]
    return ",".join(["!reported=1", *parts, *["!failed=1"] * (prediction.status == "failed")])
