"""How long runs of a model usually take, as far as this process has seen them end.

It only decides when a running job is first asked about, where a guess that is missing or wrong costs a question or some
patience; so it is worth no command of the store.
"""

from collections import OrderedDict

WEIGHT = 0.3  # of the newest run
MAX_MODELS = 256
PATIENCE = 1.5  # a run is asked about when it has taken this much longer than usual
MIN_DURATION = 2.0  # s


class Durations:
    """A moving average per model."""

    def __init__(self) -> None:
        self._usual: OrderedDict[str, float] = OrderedDict()

    def learn(self, model: str, seconds: float) -> None:
        """Takes one finished run into account."""
        before = self._usual.pop(model, seconds)
        self._usual[model] = before + WEIGHT * (seconds - before)
        while len(self._usual) > MAX_MODELS:
            self._usual.popitem(last=False)

    def first_check(self, model: str, longest: float) -> float:
        """After how many seconds to ask about a run, ``longest`` at most."""
        usual = self._usual.get(model)
        return longest if usual is None else min(longest, max(MIN_DURATION, PATIENCE * usual))
