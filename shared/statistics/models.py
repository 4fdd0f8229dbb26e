"""Which models have series of their own. Callers name models, so their number is bounded; the rest count as one."""

from collections.abc import Mapping

MAX_MODELS = 64
MAX_NAME = 100  # characters
SILENT_FOR = 30 * 86_400_000  # ms; a working model may lose its place then
OTHER = "other"


class Models:
    """The models with series of their own, each with the time (ms) of its last entry, and whether a job completed.

    A model counts without its version (``owner/name:version``): a caller may name many versions of one. When there are
    too many models, one whose job completes takes the place of one that never had that, or that is silent for 30 days.
    So a caller that invents names takes no place from a model that works.
    """

    def __init__(self, known: Mapping[str, list[int]]) -> None:
        self.known: dict[str, list[int]] = {name: list(seen) for name, seen in known.items()}
        self.dropped: list[str] = []  # gave their places to others; their sums belong to OTHER now

    def name_of(self, model: str, at: int, *, completed: bool) -> str:
        """Returns the name under which an entry of this model counts."""
        name = model.partition(":")[0][:MAX_NAME]  # mutant: versions of a model
        if name not in self.known and not self._has_place(at, completed):
            return OTHER
        last, works = self.known.get(name, [0, 0])
        self.known[name] = [max(last, at), int(works or completed)]
        return name

    def _has_place(self, at: int, completed: bool) -> bool:
        if len(self.known) < MAX_MODELS:
            return True
        # Those that never worked come first, then the one that has been silent longest.
        free = [(works, last, name) for name, (last, works) in self.known.items()]
        works, last, name = min(free)
        if not completed or (works and at - last <= SILENT_FOR):  # mutant: a silent model
            return False
        del self.known[name]
        self.dropped.append(name)
        return True
