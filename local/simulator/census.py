"""Counts over all predictions: how many ran at the same time, and how many creates each model and prompt had."""

from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel

from local.simulator.prediction import Prediction


class Creates(BaseModel):
    """How many create calls came for one model and prompt, and how many predictions they made."""

    model: str
    prompt: str
    calls: int
    predictions: int


class Census(BaseModel):
    """Counts since the last reset. A prediction counts as running from its creation until it is terminal.

    ``asked``: how often a single prediction was asked about.
    """

    running: int
    max_running_total: int
    max_running: dict[str, int]
    creates: list[Creates]
    asked: int

    def creates_of(self, model: str, prompt: str) -> Creates:
        """Returns the counts of one model and prompt, zeros if it had no create call."""
        none = Creates(model=model, prompt=prompt, calls=0, predictions=0)
        return next((each for each in self.creates if (each.model, each.prompt) == (model, prompt)), none)


def take_census(
    predictions: Iterable[Prediction],
    calls: Counter[tuple[str, str]],
    made: Counter[tuple[str, str]],
    asked: int,
    now: float,
) -> Census:
    """Computes the exact maxima from the times of all predictions."""
    everything = list(predictions)
    labels = sorted({label for each in everything for label in each.behaviour.group})
    return Census(
        running=sum(not each.is_over(now) for each in everything),
        max_running_total=_max_at_once(everything),
        max_running={
            label: _max_at_once(each for each in everything if label in each.behaviour.group) for label in labels
        },
        creates=[
            Creates(model=model, prompt=prompt, calls=count, predictions=made[model, prompt])
            for (model, prompt), count in calls.items()
        ],
        asked=asked,
    )


def _max_at_once(predictions: Iterable[Prediction]) -> int:
    """Sweeps over starts and ends; at the same instant an end comes first, as its slot is then free."""
    spans = [(each.created_at, each.ending.at) for each in predictions]
    steps = sorted(
        [(start, 1) for start, end in spans if end > start] + [(end, -1) for start, end in spans if end > start]
    )
    highest = running = 0
    for _, step in steps:
        running += step
        highest = max(highest, running)
    return highest
