"""The Lua scripts: one file a verb, each sent behind what it uses of the libraries.

The queue's are in FOLDER. Another room may have scripts in a folder of its own, with a library of its own; they may use
the prelude and the queue's libraries too.

A script names its keys and arguments: ``key.index``, ``arg.now``, and ``rest.fields`` for a list at the end. So do the
functions that it uses of a library. The loader puts numbers in their places, by the order in the verb's header, and
callers name them too; see scripted.py. What Python shares with the scripts comes from constants.py and keys.py.

The store's client sends a digest in place of a text that the store knows. No shebang: Upstash's ``allow-key-locking``
flag would forbid the job and user keys that only a script can know (Upstash, "Key locking"), and other engines refuse
it.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

from shared.frozen import dataclass
from shared.jobqueue import constants, keys
from shared.jobqueue.header import Form, Header
from shared.jobqueue.kinds import Argument
from shared.jobqueue.lua import (
    Statement,
    needed,
    statements,
    with_names_replaced,
    without_comments,
    without_indentation,
    words,
)

FOLDER = Path(__file__).parent / "scripts"
# Each may use those before it.
LIBRARIES = (
    "prelude", "keys", "spending", "lost", "room", "startable", "pauses", "halts", "users", "places", "tags",
    "shares", "runs", "probes", "seats", "yielding", "outbox", "entries", "ending", "retry", "walk",
)  # fmt: skip
VERBS = (
    "enqueue", "claim", "record", "finish", "fail", "snooze", "cancel", "rescue", "expire", "trip", "check", "progress",
    "adopt", "rehome", "forget_runs", "explain", "reprioritize", "limit", "limit_user", "stats", "health",
    "batch_create", "batch_read", "batch_cancel", "batch_retry",
    "list", "letters", "browse", "user_limits", "redrive", "delete", "trim", "erase", "forget_gone",
    "outbox_claim", "outbox_keep", "outbox_note", "outbox_redeliver", "outbox_undelivered",
    "outbox_restore", "outbox_release", "key_put", "reclaim",
)  # fmt: skip


# What constants.py and keys.py know is given to the scripts under the same names.
CONSTANTS = [
    Statement(f"local {name} = {value if isinstance(value, int) else repr(value)}\n", (name,))
    for module in (constants, keys)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, int | str)
]


_verbs: dict[str, str] = {}  # by the text that is sent


class UnknownName(ValueError):
    """A script uses a key or an argument that its header does not name."""


@dataclass(frozen=True)
class Script:
    """A verb's program, and what it takes in the order in which it is sent.

    ``own`` are the names of keys and arguments that it uses itself; the others are for the verbs that it calls.
    """

    verb: str
    text: str
    keys: tuple[str, ...]
    arguments: tuple[Argument, ...]
    returns: Mapping[str, Form]
    rows: Mapping[str, Form]
    own: frozenset[str]


@functools.cache
def script(verb: str, folder: Path | None = None) -> Script:
    """The verb's script, ready to send. Raises InvalidHeader or UnknownName. Without a ``folder`` it is the queue's."""
    header = Header.of(verb, _source(verb, folder))
    numbers, program = _Numbers(verb, header), _program(verb, folder)
    # A called verb is a function of its own: Lua allows one function 200 local names, and two verbs have more.
    called = "".join(f"local function {name}()\n{_program(name, folder)}end\n" for name in header.calls)
    text = without_indentation(with_names_replaced(program, numbers))
    own = frozenset(numbers.used)
    text = without_indentation(with_names_replaced(called, numbers)) + text
    _verbs[text] = verb
    return Script(verb, text, header.keys, header.arguments, header.returns, header.rows, own)


def verb_of(text: str) -> str:
    """The verb whose script has this text, as it is sent; '' for a text that this process has not assembled."""
    return _verbs.get(text, "")


def _program(verb: str, folder: Path | None) -> str:
    """What the verb does, behind what it uses of the libraries; with the names that it gives keys and arguments."""
    source = _source(verb, folder)
    header, body = Header.of(verb, source), without_comments(source)
    libraries = ("prelude", *header.libraries)
    library = [*CONSTANTS, *(one for name in libraries for one in _library(_file(name, folder)))]
    used = words(body)
    if any(argument.kind.is_rest for argument in header.arguments):
        used |= {"arguments_from"}  # `rest.fields` becomes a call of this function
    return "".join(one.text for one in needed(library, used)) + body


@functools.cache
def _library(file: Path) -> list[Statement]:
    return statements(without_comments(file.read_text(encoding="utf-8")))


class _Numbers:
    """Where the header puts what the script names."""

    def __init__(self, verb: str, header: Header) -> None:
        self._verb = verb
        self.used: set[str] = set()
        arguments = list(enumerate(header.arguments, 1))
        self._places = {("key", name): f"KEYS[{n}]" for n, name in enumerate(header.keys, 1)}
        self._places |= {("arg", a.name): f"ARGV[{n}]" for n, a in arguments if not a.kind.is_rest}
        self._places |= {("rest", a.name): f"arguments_from({n})" for n, a in arguments if a.kind.is_rest}

    def __call__(self, table: str, name: str) -> str:
        place = self._places.get((table, name))
        if place is None:
            raise UnknownName(f"{self._verb}.lua uses {table}.{name}, which its header does not name")
        self.used.add(name)
        return place


def _source(verb: str, folder: Path | None) -> str:
    return _file(verb, folder).read_text(encoding="utf-8")


def _file(name: str, folder: Path | None) -> Path:
    own = (folder or FOLDER) / f"{name}.lua"
    return own if own.exists() else FOLDER / f"{name}.lua"
