"""Named faults: each breaks answers on purpose, as something between a client and Upstash can."""

import random
from dataclasses import dataclass, field
from enum import StrEnum

from .catalogue import no_permission
from .connections import Command, Failure
from .scripts import script_error

UNTIL_CLEARED = -1

QUOTA_TEXT = (
    "ERR max requests limit exceeded. Limit: 500000, Usage: 500007. "
    "See https://upstash.com/docs/redis/troubleshooting/max_requests_limit for details"
)
CAPACITY_TEXT = "ERR DB capacity quota exceeded. Threshold: 268435456 bytes, Usage: 268979370 bytes."
# Of a command inside a script.
INTERRUPTED_TEXT = script_error(7, CAPACITY_TEXT)
# Upstash's page on its free databases: "read and delete requests will not be affected".
DELETES = frozenset((b"DEL", b"UNLINK"))


class Fault(StrEnum):
    """What happens to a request that is struck.

    Commands reach the engine under `apply_then_...` faults and `delay`, and under no other. Upstash does not document
    the HTTP status of quota errors; here it is 400, as for any error text.
    """

    DROP_BEFORE = "drop_before"
    """The connection is closed without an answer."""
    APPLY_THEN_DROP = "apply_then_drop"
    """Applied, then the connection is closed without an answer."""
    DELAY = "delay"
    """Waits `seconds`, then answers as usual."""
    HANG = "hang"
    """No answer until the client goes away."""
    APPLY_THEN_HANG = "apply_then_hang"
    """Applied, then no answer until the client goes away."""
    HTML_502 = "html_502"
    """A proxy's HTML page with status 502."""
    APPLY_THEN_HTML_502 = "apply_then_html_502"
    """Applied, then a proxy's HTML page with status 502."""
    QUOTA = "quota"
    """The month's commands are used up: each command but PING is refused, a transaction as a whole."""
    CAPACITY = "capacity"
    """The database is full: commands that may write are refused, scripts among them; DEL and UNLINK are not."""
    INTERRUPTED = "interrupted"
    """The database is full, and a script is said to have stopped at one of its commands; nothing is applied."""
    READ_ONLY = "read_only"
    """The token may only read: commands that may write are refused with NOPERM."""
    WRONG_TOKEN = "wrong_token"
    """401, as if the token had been revoked."""
    THROTTLED = "throttled"
    """429 with plain text."""
    JSON_429 = "json_429"
    """429 with an error in JSON, as of a proxy that limits the rate."""
    JSON_500 = "json_500"
    """500 with an error in JSON that no command answers with."""
    APPLY_THEN_JSON_500 = "apply_then_json_500"
    """Applied, then the same."""

    @property
    def refuses(self) -> bool:
        """Whether the answer is valid JSON in which commands are refused."""
        return self in (Fault.QUOTA, Fault.CAPACITY, Fault.READ_ONLY)


@dataclass
class Injection:
    """One order to break requests: which, how many, and how many it has struck so far."""

    fault: Fault
    times: int = 1
    """How many requests are struck; -1 for all until cleared."""
    match: str | None = None
    """Only requests whose text contains this: arguments joined by spaces, commands of a batch by newlines."""
    seconds: float = 0.0
    """How long `delay` waits."""
    probability: float = 1.0
    seed: int = 0
    """Makes `probability` strike the same requests in every run."""
    fired: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def is_spent(self) -> bool:
        """Whether it has struck all the requests it may."""
        return self.times != UNTIL_CLEARED and self.fired >= self.times

    def strikes(self, text: str) -> bool:
        """Decides whether it strikes this request, and counts it if so."""
        if self.is_spent or (self.match is not None and self.match not in text):
            return False
        if self._random.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def as_json(self) -> dict[str, object]:
        """Returns the order as `GET /-/faults` shows it."""
        shown = ("fault", "times", "match", "seconds", "probability", "seed", "fired")
        return {name: getattr(self, name) for name in shown}


class Faults:
    """The orders in force, oldest first; the first that strikes a request breaks it."""

    def __init__(self) -> None:
        self._injections: list[Injection] = []

    def inject(self, injection: Injection) -> Injection:
        """Puts an order in force and returns it, so that its `fired` can be read later."""
        self._injections.append(injection)
        return injection

    def clear(self) -> None:
        """Lifts all orders; requests already struck stay struck."""
        self._injections.clear()

    def active(self) -> list[Injection]:
        """Returns the orders that may still strike."""
        return [injection for injection in self._injections if not injection.is_spent]

    def strike(self, commands: list[Command]) -> Injection | None:
        """Returns the order that strikes this request, or None."""
        if not self._injections:
            return None
        text = "\n".join(b" ".join(command).decode(errors="replace") for command in commands)
        return next((injection for injection in self._injections if injection.strikes(text)), None)


def refusal_by(fault: Fault, command: Command, writes: bool) -> Failure | None:
    """Returns the error that this fault answers instead of running the command, or None if the command may run."""
    if fault is Fault.QUOTA and command[0].upper() != b"PING":
        return Failure(QUOTA_TEXT)
    if fault is Fault.CAPACITY and writes and command[0].upper() not in DELETES:
        return Failure(CAPACITY_TEXT)
    if fault is Fault.READ_ONLY and writes:
        return no_permission(command)
    return None
