"""Who was refused lately, as this process knows it: a repeat within the wait needs no call of the store."""

from shared.clock import Clock
from shared.frozen import dataclass

MAX_REMEMBERED = 10_000


@dataclass(frozen=True)
class _Refusal:
    count: int  # so many at once were refused, and fewer may be allowed
    until: int  # ms


class Refused:
    """Remembers refusals until they end; the oldest make room for new ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refusals: dict[str, _Refusal] = {}

    def wait(self, who: str, count: int = 1) -> int:
        """Returns how many s so many will be refused for; 0 if the store has to say."""
        known = self._refusals.get(who)
        if known is None or count < known.count:
            return 0
        left = known.until - self._clock.now()
        if left <= 0:
            del self._refusals[who]
            return 0
        return -(-left // 1000)

    def forget(self, who: str) -> None:
        """Drops what is known of the refusal, which may have ended early."""
        self._refusals.pop(who, None)

    def note(self, who: str, wait: int, count: int = 1) -> None:
        """Remembers that so many were refused for ``wait`` s."""
        known = self._refusals.pop(who, None)
        if known is not None and known.until > self._clock.now():
            count = min(count, known.count)
        elif len(self._refusals) >= MAX_REMEMBERED:  # mutant: bounded memory
            del self._refusals[next(iter(self._refusals))]
        self._refusals[who] = _Refusal(count, self._clock.now() + wait * 1000)
