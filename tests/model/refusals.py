"""What a provider's refusals show, and what becomes of a pause and of its probe."""

from tests.model.circuits import circuits_of
from tests.model.deployment import provider_of
from tests.model.state import Job, Model

Refusals = dict[str, str]


def names_of(job: Job) -> tuple[str, str]:
    """The fields of its model and of its user, who is not named."""
    return f"model:{job['model'].rpartition(':')[2]}", f"user:{job['share']}"


def known_of(model: Model, provider: int) -> Refusals:
    return model.refusals.get(str(provider), {})


def pause_of(known: Refusals) -> int:
    return int(known.get("since", 0))


def is_disproved(known: Refusals, name: str) -> bool:
    """Whether another job was accepted after one with this name was refused."""
    noted = known.get(name, "0")
    is_lifted = 0 < int(noted.rstrip("+-")) <= int(known.get("lifted", 0))
    return noted.endswith("+") or (is_lifted and not noted.endswith("-"))


def mark_of(known: Refusals, name: str, code: str) -> str:
    """What is noted behind the pause; ``-`` if all its refusals were 429."""
    if is_disproved(known, name):
        return "+"
    return "-" if code == "rate_limited" and known.get(name, "-").endswith("-") else ""


def likeness(known: Refusals, job: Job) -> int:
    """How much a job is like those that were refused in this pause; 4 if it was refused itself."""
    of_model, of_user = (pause_of(known) == int(known.get(name, "-1").rstrip("+-")) for name in names_of(job))
    return 4 * bool(job.get("refusals")) + 2 * of_model + of_user


def is_suspect(known: Refusals, job: Job) -> bool:
    """Whether its model or its user was refused while the provider accepted others."""
    return any(is_disproved(known, name) for name in names_of(job))


def suspicion(known: Refusals, job: Job) -> int:
    """How little it is fit to be the probe; 0 if nothing speaks against it."""
    return 2 * likeness(known, job) + is_suspect(known, job)


def blamed(known: Refusals, job: Job) -> tuple[str, ...]:
    """What its refusal speaks against: its model or its user, if just one of them is a suspect."""
    suspects = tuple(name for name in names_of(job) if is_disproved(known, name))
    return suspects or names_of(job)


def absolve(model: Model, job: Job) -> None:
    """Forgets refusals of an accepted job's model; those of its user if it was refused itself."""
    known = model.refusals.get(str(provider_of(job["lane"])), {})
    for name in names_of(job) if job.get("refusals") else names_of(job)[:1]:
        known.pop(name, None)


def refuse(model: Model, job: Job, now: int, delay: int, said: Refusals) -> tuple[int, int]:
    """Pauses the provider, and notes the refusal; returns the pause and how often the job was at fault."""
    provider, gate = provider_of(job["lane"]), f"~p{provider_of(job['lane'])}"
    known, held_until = known_of(model, provider), model.gate(gate)
    lifted = int(known.get("lifted", 0))
    is_repeated = job.get("refused_as") == said["code"] and job["refused_in"] <= lifted
    faults = job["faults"] + 1 if is_repeated else 0
    is_probe = held_until == job["lease_until"]
    is_soft = is_suspect(known, job) and said["code"] != "rate_limited"
    goes_on = held_until is not None and pause_of(known) > lifted
    pause = pause_of(known) if goes_on else max(now, pause_of(known) + 1)
    model.set_gate(gate, max(0 if is_probe else held_until or 0, now if is_soft else now + delay))
    before = int(known.get("refusals", 0)) if pause == pause_of(known) else 0
    marks = {name: f"{pause}{mark_of(known, name, said['code'])}" for name in blamed(known, job)}
    marks["suspects_until"] = str(now + delay)
    noted = {**said, **marks, "since": str(pause), "at": str(now), "refusals": str(before + 1)}
    model.refusals[str(provider)] = {**known, **noted}
    return pause, faults


def lift(model: Model, gate: str, job: Job | None) -> None:
    """The provider has accepted a submission: its pause is over."""
    known = model.refusals.get(gate[2:])
    if model.index.pop(gate, None) is not None and known:
        known["lifted"] = known["since"]
        if job:
            absolve(model, job)


def settle_pause(model: Model, job: Job, now: int, is_accepted: bool = False) -> None:
    """Ends a probe of a provider: accepted, it lifts the pause; else another job may be the next."""
    gate = f"~p{provider_of(job['lane'])}"
    if is_probe_of(model, job, gate):
        if is_accepted:
            lift(model, gate, job)
        else:
            model.set_gate(gate, now)


def settle(model: Model, job: Job, now: int, is_accepted: bool = False) -> None:
    """Ends all probes of a job that has not completed."""
    settle_pause(model, job, now, is_accepted)
    for gate in circuits_of(job):
        if is_probe_of(model, job, gate):
            model.set_gate(gate, now)


def settle_late(model: Model, job: Job, attempt: int, now: int, is_accepted: bool = False) -> None:
    """Ends the probes of a job that an earlier attempt's success has ended: its current attempt is answered."""
    if (job["state"], job["attempt"]) == ("done", attempt):
        settle(model, job, now, is_accepted)


def is_probe_of(model: Model, job: Job, gate: str) -> bool:
    return bool(job.get("probe")) and model.gate(gate) == job["lease_until"]
