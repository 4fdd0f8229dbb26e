"""Makes scripts written for Upstash run on a stock engine.

Upstash locks the whole database for a script unless its first line is `#!lua flags=allow-key-locking`. Stock Redis and
Valkey refuse that flag (Upstash's page on key locking; tried on both), so it is removed before the engine sees the
script. That changes the script's SHA-1, so both digests are kept: EVALSHA and SCRIPT then work with the caller's. With
the flag Upstash demands that every key is declared. Lua in front of the script checks that here.
"""

import re
from hashlib import sha1

from .connections import Command, Failure, Reply

FLAG = b"allow-key-locking"
NO_SCRIPT = "NOSCRIPT No matching script. Please use EVAL."
RUNNING = (b"EVAL", b"EVAL_RO", b"EVALSHA", b"EVALSHA_RO")
# How the engines word an error inside a script. Valkey shows no digest.
RAISED = re.compile(r"(?P<text>.*) script: (?:[0-9a-f]{40}, )?on @user_script:(?P<line>\d+)\.", re.DOTALL)
OWN = re.compile(r"ERR user_script:\d+: ")  # the text of Lua's own errors and of `error`
SCRIPT_ERROR = "ERR Error running script: @user_script:"
UNDECLARED = r"ERR Dynamic keys are not allowed in Lua scripts when \'allow-key-locking\' flag is set. Key was: "
# Replaces `redis.call` and `redis.pcall`. The engine itself says which arguments of a command are keys. It would report
# an error at the line of this code, so the text names the caller's: `?` after `return redis.call(...)`, a tail call.
GUARD = " ".join(
    """
local redis = (function(redis, declared)
  local known = {}
  for _, key in ipairs(declared) do known[key] = true end
  local function guarded(...)
    local keys = redis.pcall('COMMAND', 'GETKEYS', ...)
    for _, key in ipairs(keys.err and {} or keys) do
      if not known[key] then
        return redis.error_reply('UNDECLARED' .. key)
      end
    end
    return redis.pcall(...)
  end
  local function call(...)
    local reply = guarded(...)
    if type(reply) == 'table' and reply.err then
      local _, where = pcall(error, '', 3)
      error({ err = 'ERR Error running script: @user_script:' .. (where:match(':(%d+):') or '?') .. ': ' .. reply.err })
    end
    return reply
  end
  return setmetatable({ call = call, pcall = guarded }, { __index = redis })
end)(redis, KEYS)
""".replace("UNDECLARED", UNDECLARED).split()
).encode()


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
        """Returns the reply that the caller expects: the digest of the script as it was sent, and Upstash's errors."""
        if isinstance(reply, bytes) and _is_script(command, b"LOAD"):
            return _digest(command[2])
        if isinstance(reply, Failure) and command[0].upper() in RUNNING:
            return Failure(_worded(reply.text))
        return reply

    def _adapted(self, script: bytes) -> bytes:
        adapted = without_key_locking(script)
        if adapted != script:
            self._engine_digests[_digest(script)] = _digest(adapted)
        return adapted

    def _engine_digest(self, digest: bytes) -> bytes:
        return self._engine_digests.get(digest.lower(), digest)


def without_key_locking(script: bytes) -> bytes:
    """Returns the script without the flag, guarded; each line stays where it is, so line numbers in errors stay right.

    Other flags stay in force. If none is left, the line becomes a comment: a bare `#!lua` would change the engine's
    rules for scripts that declare nothing.
    """
    first, newline, rest = script.partition(b"\n")
    if not first.startswith(b"#!") or FLAG not in first:
        return script
    before, _, flags = first.partition(b"flags=")
    kept = [flag for flag in flags.strip().split(b",") if flag != FLAG]
    line = before + b"flags=" + b",".join(kept) if kept else b"-- " + first
    return line + newline + GUARD + b" " + rest


def script_error(line: int | str, text: str) -> str:
    """Returns the error of a script in Upstash's form, as its clients' own tests quote it."""
    return f"{SCRIPT_ERROR}{line}: {text} stack traceback: [G]: in function 'call'"


def _worded(text: str) -> str:
    """Returns an engine's error to a script as Upstash words it."""
    if text.startswith("NOSCRIPT"):
        return NO_SCRIPT
    raised = RAISED.fullmatch(text)
    if raised is None or text.startswith("OOM"):  # the engine's own limit, by which it refuses a script as a whole
        return text
    inside, line = raised["text"], raised["line"]
    if inside.startswith(SCRIPT_ERROR):  # from the guard
        line, _, inside = inside.removeprefix(SCRIPT_ERROR).partition(": ")
    return script_error(line, OWN.sub("", inside, count=1))


def _is_script(command: Command, subcommand: bytes) -> bool:
    return len(command) > 2 and command[0].upper() == b"SCRIPT" and command[1].upper() == subcommand


def _digest(script: bytes) -> bytes:
    return sha1(script, usedforsecurity=False).hexdigest().encode()
