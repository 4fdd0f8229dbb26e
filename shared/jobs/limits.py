"""Live limits: limits that an operator changes while the deployment runs.

A limit is a gate in the queue's index, where each claim reads it at no extra cost; 0 is a pause. It stays over deploys
until the operator lifts it with null; then the configured limit applies again.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.clock import Clock, iso
from shared.config.providers import NUMBERS, REGISTRY
from shared.config.settings import Settings
from shared.documents.operating import (
    LimitDocument,
    LimitsDocument,
    OpenCircuit,
    PauseReason,
    ProviderLimit,
    UserLimitDocument,
    UserLimitsPage,
)
from shared.errors import InvalidRequest
from shared.jobqueue import Controls, Overview, ProviderPause
from shared.jobqueue.keys import run_of
from shared.jobs.cursors import ScanCursor
from shared.jobs.owners import Owners
from shared.jobs.request import Id, Model, unknown
from shared.log import log

MAX_STEPS = 10  # of 1,000 keys, that one call walks past
Concurrency = Annotated[int, Field(ge=0, le=1000)]


class UserLimit(BaseModel):
    """A user of one API key, and how many of the user's jobs may be ready or at a provider."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    user_id: Id
    concurrency: Concurrency | None


class Probed(BaseModel):
    """A provider's pause, or with a model its circuits: that for all users, and those for single ones."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    provider: Annotated[str, Field(max_length=32)]
    model: Model | None = None


class LimitsChange(BaseModel):
    """The body of ``PATCH /api/operate/limits``: null lifts a limit, 0 pauses, and all others stay."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    system: Concurrency | None = None
    queues: Annotated[dict[str, Concurrency | None], Field(max_length=20)] = Field(default_factory=dict)
    providers: Annotated[dict[str, Concurrency | None], Field(max_length=8)] = Field(default_factory=dict)
    users: Annotated[list[UserLimit], Field(max_length=20)] = Field(default_factory=list)
    resume: Annotated[list[str], Field(max_length=8)] = Field(default_factory=list)  # providers paused by refusals
    # Paused providers, and open circuits
    probe: Annotated[list[Probed], Field(max_length=20)] = Field(default_factory=list)

    @field_validator("users")
    @classmethod
    def _once(cls, users: list[UserLimit]) -> list[UserLimit]:
        if len({(user.key, user.user_id) for user in users}) < len(users):
            raise ValueError("must name each user once")
        return users

    def named(self) -> list[str]:
        """Returns each limit that the change names, with its new value, for the audit."""
        named = (("queue", self.queues), ("provider", self.providers))
        limits = [f"{kind} {name} {value}" for kind, values in named for name, value in values.items()]
        limits += [f"user {user.key}:{user.user_id} {user.concurrency}" for user in self.users]
        limits += [f"resume {name}" for name in self.resume]
        limits += [f"probe {circuit.provider}:{circuit.model}" for circuit in self.probe]
        return [f"system {self.system}", *limits] if "system" in self.model_fields_set else limits


class UserLimitsQuery(BaseModel):
    """The query of ``GET /api/operate/user-limits``: where an earlier call stopped."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    cursor: ScanCursor = "0"


class Limits:
    """Reads and changes live limits."""

    def __init__(
        self, controls: Controls, overview: Overview, owners: Owners, settings: Settings, clock: Clock
    ) -> None:
        self._controls = controls
        self._overview = overview
        self._owners = owners
        self._settings = settings
        self._clock = clock

    async def change(self, change: LimitsChange) -> LimitsDocument:
        """Applies the change and returns all limits. InvalidRequest names the field of what is unknown."""
        numbers = {queue.name: queue.number for queue in self._settings.queue_list}
        await self._require_known(change, numbers)
        gates = {"=s": change.system} if "system" in change.model_fields_set else {}
        gates |= {f"=q{numbers[name]}": value for name, value in change.queues.items()}
        gates |= {f"=p{NUMBERS[name]}": value for name, value in change.providers.items()}
        gates |= {f"~p{NUMBERS[name]}": None for name in change.resume}
        gates |= await self._half_open(change.probe)
        for user in change.users:
            await self._controls.limit_user(user.key, user.user_id, user.concurrency)
        log.warning("limits_changed", gates=gates, users=len(change.users))
        standing = await self._controls.set_gates(gates)
        return self.shown(standing.standing, standing.pauses)

    async def _half_open(self, wanted: Sequence[Probed]) -> dict[str, int]:
        """Returns the gates of these pauses and circuits as over since now, so that one job tries each.

        InvalidRequest for what is neither paused nor open. One call more.
        """
        if not wanted:
            return {}
        standing, now = (await self._controls.set_gates({})).standing, self._clock.now()
        over: dict[str, int] = {}
        for probed in wanted:
            number, model = NUMBERS[probed.provider], probed.model
            gate = f"~p{number}" if model is None else f"~o{number}:{run_of(model)}"
            found = [name for name in standing if name.partition("|")[0] == gate]
            if not found:
                what = "pause of this provider" if model is None else "open circuit of this model at this provider"
                raise InvalidRequest(f"There is no {what}.", field="probe")
            over |= {name: min(standing[name], now) for name in found}  # mutant: over circuit
        return over

    async def of_users(self, query: UserLimitsQuery) -> UserLimitsPage:
        """Returns the users' own limits that some steps through the store meet, until one has any or ten had none."""
        users: list[UserLimitDocument] = []
        cursor = query.cursor
        for _ in range(MAX_STEPS):
            found, cursor = await self._overview.user_limits(cursor)
            users += [{"key": limit.owner, "user_id": limit.user, "concurrency": limit.concurrency} for limit in found]
            if users or cursor == "0":
                break
        configured = self._settings.max_user_tasks
        return {"users": users, "configured": configured, "next_cursor": None if cursor == "0" else cursor}

    async def _require_known(self, change: LimitsChange, queues: Iterable[str]) -> None:
        """Raises InvalidRequest for the first unknown name. Null also lifts the limit of a user whose key is gone."""
        providers = self._settings.provider_names
        for field, kind, names, known in (
            ("queues", "queue", change.queues, tuple(queues)),
            ("providers", "provider", change.providers, providers),
            ("resume", "provider", change.resume, providers),
            ("probe", "provider", [probed.provider for probed in change.probe], providers),
        ):
            if not set(names) <= set(known):
                raise unknown(kind, known, field=field)
        limited = [user.key for user in change.users if user.concurrency is not None]
        await self._owners.require(*limited, field="users")

    def shown(self, gates: dict[str, int], pauses: Sequence[ProviderPause]) -> LimitsDocument:
        """Returns each limit in force and the configured one, the paused providers, and the open circuits."""
        s, now = self._settings, self._clock.now()
        reasons = {pause.provider: _reason(pause) for pause in pauses}
        providers: dict[str, ProviderLimit] = {}
        for name in s.provider_names:
            number = NUMBERS[name]
            concurrency, per_minute, _ = s.provider_limits(REGISTRY[number])
            paused_until = gates.get(f"~p{number}", 0)
            providers[name] = {
                **_limit(gates.get(f"=p{number}"), concurrency),
                "creates_per_minute": per_minute,
                "paused_until": iso(paused_until) if paused_until > now else None,
                "pause": reasons.get(name),
            }
        circuits = [_circuit(name, until) for name, until in sorted(gates.items()) if name.startswith("~o")]
        return {
            "system": _limit(gates.get("=s"), s.max_concurrent_tasks),
            "queues": {q.name: _limit(gates.get(f"=q{q.number}"), q.concurrency) for q in s.queue_list},
            "providers": providers,
            "circuits": circuits,
        }


def _limit(live: int | None, configured: int) -> LimitDocument:
    return {"concurrency": configured if live is None else live, "configured": configured, "paused": live == 0}


def _reason(pause: ProviderPause) -> PauseReason:
    return {
        "since": iso(pause.since),
        "code": pause.code,
        "status": pause.status,
        "refused_at": iso(pause.at),
        "refusals": pause.refusals,
        "models": list(pause.models),
    }


def _circuit(gate: str, open_until: int) -> OpenCircuit:
    provider, _, model = gate.removeprefix("~o").partition(":")
    model, _, share = model.partition("|")
    return {
        "provider": REGISTRY[int(provider)].name,
        "model": model,
        "open_until": iso(open_until),
        "of_one_user": bool(share),
    }
