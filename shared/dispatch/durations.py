"""How long runs of a model usually take, from the runs whose end this process has seen.

It only decides when Sluice first asks about a running job. A missing or wrong guess costs one call or some time, so it
is not worth a command of the store.
"""

from collections import OrderedDict

WEIGHT = 0.3  # of the newest run
MAX_MODELS = 256
PATIENCE = 1.5  # Sluice asks about a run after this multiple of its model's usual duration
MIN_DURATION = 2.0  # s


class Durations:
    """A moving average per model."""

    def __init__(self) -> None:
        self._usual: OrderedDict[str, float] = OrderedDict()

    def learn(self, model: str, seconds: float) -> None:
        """Adds one finished run to the model's average."""
        before = self._usual.pop(model, seconds)
        self._usual[model] = before + WEIGHT * (seconds - before)
        while len(self._usual) > MAX_MODELS:
            self._usual.popitem(last=False)

    def first_check(self, model: str, longest: float) -> float:
        """Returns after how many seconds to ask about a run, at most ``longest``."""
        usual = self._usual.get(model)
        return longest if usual is None else min(longest, max(MIN_DURATION, PATIENCE * usual))
