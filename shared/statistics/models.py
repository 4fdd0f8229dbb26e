"""Which models have series of their own. Callers name models, so their number is bounded; the rest count as one."""

from collections.abc import Mapping

MAX_MODELS = 64
MAX_NAME = 100  # characters
OTHER = "other"


class Models:
    """The models with series of their own, each with the time (ms) of its last entry, and whether a job completed.

    When there are too many, a model whose job completes takes the place of one that never had that: so a caller that
    invents names takes no place from a model that works.
    """

    def __init__(self, known: Mapping[str, list[int]]) -> None:
        self.known: dict[str, list[int]] = {name: list(seen) for name, seen in known.items()}
        self.dropped: list[str] = []  # gave their places to others; their sums belong to OTHER now

    def name_of(self, model: str, at: int, *, completed: bool) -> str:
        """Returns the name under which an entry of this model counts."""
        name = model[:MAX_NAME]
        if name not in self.known and not self._has_place(completed):
            return OTHER
        last, works = self.known.get(name, [0, 0])
        self.known[name] = [max(last, at), int(works or completed)]
        return name

    def _has_place(self, completed: bool) -> bool:
        if len(self.known) < MAX_MODELS:
            return True
        idle = [(last, name) for name, (last, works) in self.known.items() if not works]
        if not completed or not idle:
            return False
        _, name = min(idle)
        del self.known[name]
        self.dropped.append(name)
        return True
