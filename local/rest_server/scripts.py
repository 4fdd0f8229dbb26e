"""Makes scripts written for Upstash run on a stock engine.

Upstash locks the whole database for a script unless its first line is `#!lua flags=allow-key-locking`. Stock Redis and
Valkey refuse that flag (Upstash's page on key locking; tried on both), so it is removed before the engine sees the
script. That changes the script's SHA-1, so both digests are kept: EVALSHA and SCRIPT then work with the caller's. With
the flag Upstash demands that every key is declared; that is not checked here.
"""

from hashlib import sha1

from .connections import Command, Reply

FLAG = b"allow-key-locking"


class Scripts:
    """Rewrites commands that carry or name a script with Upstash's flag."""

    def __init__(self) -> None:
        self._engine_digests: dict[bytes, bytes] = {}

    def to_engine(self, command: Command) -> Command:
        """Returns the command in the form that the engine runs."""
        name = command[0].upper()
        if name in (b"EVAL", b"EVAL_RO") and len(command) > 1:
            return [command[0], self._adapted(command[1]), *command[2:]]
        if name in (b"EVALSHA", b"EVALSHA_RO") and len(command) > 1:
            return [command[0], self._engine_digest(command[1]), *command[2:]]
        if _is_script(command, b"LOAD"):
            return [*command[:2], *map(self._adapted, command[2:])]
        if _is_script(command, b"EXISTS"):
            return [*command[:2], *map(self._engine_digest, command[2:])]
        return command

    def to_caller(self, command: Command, reply: Reply) -> Reply:
        """Returns the reply that the caller expects: SCRIPT LOAD answers the digest of the script as it was sent."""
        if isinstance(reply, bytes) and _is_script(command, b"LOAD"):
            return _digest(command[2])
        return reply

    def _adapted(self, script: bytes) -> bytes:
        adapted = without_key_locking(script)
        if adapted != script:
            self._engine_digests[_digest(script)] = _digest(adapted)
        return adapted

    def _engine_digest(self, digest: bytes) -> bytes:
        return self._engine_digests.get(digest.lower(), digest)


def without_key_locking(script: bytes) -> bytes:
    """Returns the script without the flag; its first line stays, so line numbers in errors stay right.

    Other flags stay in force. If none is left, the line becomes a comment: a bare `#!lua` would change the engine's
    rules for scripts that declare nothing.
    """
    first, newline, rest = script.partition(b"\n")
    if not first.startswith(b"#!") or FLAG not in first:
        return script
    before, _, flags = first.partition(b"flags=")
    kept = [flag for flag in flags.strip().split(b",") if flag != FLAG]
    line = before + b"flags=" + b",".join(kept) if kept else b"-- " + first
    return line + newline + rest


def _is_script(command: Command, subcommand: bytes) -> bool:
    return len(command) > 2 and command[0].upper() == b"SCRIPT" and command[1].upper() == subcommand


def _digest(script: bytes) -> bytes:
    return sha1(script, usedforsecurity=False).hexdigest().encode()
