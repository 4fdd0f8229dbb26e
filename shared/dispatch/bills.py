"""What a provider's report says of a run's cost, as the scripts take it; cost_of_run in spending.lua reads it."""

import re

from shared.config.settings import Settings
from shared.config.spending import METRIC
from shared.providers.base import Prediction

MAX_METRICS = 20  # Replicate reports about five
FREE = "free"  # surely not charged: nothing was made, or it ended before it began


def bill_of(settings: Settings, prediction: Prediction) -> str:
    """Returns the numbers of the report by which a price may count, MAX_METRICS at most, and whether the run failed.

    A job keeps the price of its submit. So today's prices do not say which numbers it needs; theirs only come first.
    """
    if prediction.is_free:  # mutant: free run
        return FREE
    names = [name for name in prediction.metrics if re.fullmatch(METRIC, name)]
    names.sort(key=lambda name: (name not in settings.priced_metrics, name))
    parts = [f"{name}={prediction.metrics[name]:.6f}" for name in sorted(names[:MAX_METRICS])]
    return ",".join(["!reported=1", *parts, *["!failed=1"] * (prediction.status == "failed")])
