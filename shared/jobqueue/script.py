"""The queue's Lua scripts: one file a verb, each sent whole with EVAL behind the libraries it needs.

Plain EVAL and not EVALSHA: Upstash's script cache may be empty on the replica that answers, and a script of a few
kilobytes is small beside the request itself. No shebang: Upstash's ``allow-key-locking`` flag would forbid the job and
user keys that only a script can know (Upstash, "Key locking"), and other engines refuse it.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "scripts"
LIBRARIES = ("prelude", "outbox", "ending", "seats", "walk")  # each may use those before it
VERBS = (
    "enqueue", "claim", "record", "finish", "fail", "snooze", "cancel", "rescue", "expire", "trip", "check", "progress",
    "adopt", "rehome", "explain", "reprioritize", "limit", "limit_user", "stats",
    "batch_create", "batch_read", "batch_cancel", "batch_retry",
    "list", "letters", "redrive", "delete", "trim",
    "outbox_claim", "outbox_keep", "outbox_note", "outbox_redeliver", "outbox_undelivered",
    "outbox_restore",
)  # fmt: skip


@dataclass(frozen=True)
class Script:
    """A verb's program and what its header says it takes."""

    verb: str
    text: str
    keys: tuple[str, ...]
    arguments: tuple[str, ...]  # the last may stand for any number: fields with their values, candidates or ids


@functools.cache
def script(verb: str) -> Script:
    """The verb's script, ready to send: the libraries it names and its body, without comments."""
    source = _source(verb)
    said = re.search(r"^-- With: (.*)$", source, re.M)
    libraries = ["prelude", *(said.group(1).split(", ") if said else [])]
    return Script(
        verb=verb,
        text="".join(_without_comments(_source(name)) for name in (*libraries, verb)),
        keys=_names("KEYS", source),
        arguments=_names("ARGV", source),
    )


def _source(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def _names(kind: str, source: str) -> tuple[str, ...]:
    """The names that the header lists after ``-- KEYS:`` or ``-- ARGV:``, in order."""
    lines = source.split("\n")
    found: list[str] = []
    for number, line in enumerate(lines):
        if line.startswith(f"-- {kind}:"):
            block = [line.removeprefix(f"-- {kind}:")]
            for following in lines[number + 1 :]:
                if not following.startswith("--       "):
                    break
                block.append(following.removeprefix("--"))
            found = re.findall(r"\d+(?:\.\.)? ([a-z_]+(?: [a-z_]+)*)", " ".join(block))
    return tuple(found)


def _without_comments(source: str) -> str:
    lines = (line.strip() for line in source.split("\n"))
    return "\n".join(line for line in lines if line and not line.startswith("--")) + "\n"
