"""The log lines of a running model, in the shape of tqdm's progress bar: the only progress the real API offers."""

_STEPS = 50
_BLOCKS = " ▏▎▍▌▋▊▉"


def log(seed: int, done: float, seconds: float, finished: bool) -> str:
    """Returns the log of a model that needs `seconds`, after the share `done` (0 to 1) of them.

    Only a finished one shows 100%: a model that fails or stalls never logs its last step.
    """
    steps = _STEPS if finished else min(_STEPS - 1, int(done * _STEPS))
    lines = [f"Using seed: {seed}", *(_line(step, seconds) for step in range(steps + 1))]
    return "\n".join(lines) + "\n"


def _line(step: int, seconds: float) -> str:
    spent = seconds * step / _STEPS
    rate = f"{_STEPS / seconds:5.2f}" if step and seconds else "    ?"
    left = _minutes(seconds - spent) if step else "?"
    return f"{step * 100 // _STEPS:3d}%|{_bar(step)}| {step:2d}/{_STEPS} [{_minutes(spent)}<{left}, {rate}it/s]"


def _bar(step: int) -> str:
    eighths = step * 80 // _STEPS
    full = "█" * (eighths // 8)
    return (full + _BLOCKS[eighths % 8] if eighths < 80 else full).ljust(10)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
