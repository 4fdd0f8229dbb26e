"""Which commands the REST API offers, and which of them write.

The list follows Upstash's pages "REST API" and "Redis API compatibility". Left out are blocking commands, WATCH and raw
transactions, the connection group except PING and ECHO, the commands about the cluster or the server process, and
CONFIG except notify-keyspace-events. The engine itself says whether a command writes.
"""

from typing import Self

from .connections import Command, Connection, Failure, Reply

UNAVAILABLE = frozenset(
    # blocking
    b"BLPOP BRPOP BRPOPLPUSH BLMOVE BLMPOP BZPOPMIN BZPOPMAX BZMPOP "
    # transactions: /multi-exec instead
    b"MULTI EXEC DISCARD WATCH UNWATCH "
    # their answers are pushed and do not fit one HTTP response
    b"SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE MONITOR "
    # connection and users
    b"ACL AUTH CLIENT HELLO QUIT RESET SELECT "
    # cluster and replication
    b"ASKING CLUSTER COMMANDLOG FAILOVER MIGRATE PSYNC READONLY READWRITE REPLCONF REPLICAOF ROLE SLAVEOF SYNC "
    # the server process
    b"BGREWRITEAOF BGSAVE DEBUG LASTSAVE LATENCY LOLWUT MODULE PFDEBUG PFSELFTEST SAVE SHUTDOWN SLOWLOG SWAPDB".split()
)
# The engine flags these neither as reading nor as writing; a read-only token may run them.
HARMLESS = frozenset((b"PING", b"ECHO", b"TIME", b"INFO", b"COMMAND"))
# They read, yet the read-only token may not run them (REST API page).
FORBIDDEN_TO_READERS = frozenset((b"SCAN", b"KEYS"))


class Catalogue:
    """Knows from the engine which commands there are, whether one writes, and who may run it."""

    def __init__(self, known: frozenset[bytes], reading: frozenset[bytes]) -> None:
        self._known = known
        self._reading = reading

    @classmethod
    async def ask(cls, connection: Connection) -> Self:
        """Returns a catalogue with the flags of the engine at the other end."""
        described = await connection.ask(b"COMMAND")
        if not isinstance(described, list):
            raise TypeError(f"COMMAND answered {described!r}")
        known = frozenset(map(_name_of, described))
        return cls(known, frozenset(_name_of(entry) for entry in described if _is_flagged_readonly(entry)))

    def writes(self, command: Command) -> bool:
        """Whether the command may change the database; EVAL, EVALSHA and FCALL always may."""
        name = command[0].upper()
        return name not in self._reading and name not in HARMLESS

    def refusal(self, command: Command) -> Failure | None:
        """Returns the error for a command that the REST API or the engine does not offer, or None if both do.

        Worded as users quote it (sidekiq issue 5641), with the page's present address; Upstash documents no text.
        """
        name = command[0].upper()
        blocks = name in (b"XREAD", b"XREADGROUP") and _has_block_option(command)
        is_missing = name in UNAVAILABLE or name not in self._known
        if is_missing or blocks or (name == b"CONFIG" and not _is_about_keyspace_events(command)):
            shown = command[0].decode(errors="replace")
            return Failure(
                f"ERR Command is not available: '{shown}'. "
                "See https://upstash.com/docs/redis/overall/compatibility for details"
            )
        return None

    def refusal_to_reader(self, command: Command) -> Failure | None:
        """Returns the error that a read-only token gets for this command, or None if it may run it."""
        if self.writes(command) or command[0].upper() in FORBIDDEN_TO_READERS:
            return no_permission(command)
        return None


def fixed_answer(command: Command) -> tuple[Reply] | None:
    """Returns Upstash's fixed answers, in a tuple: COMMAND lists nothing, SCRIPT KILL finds nothing."""
    words = [word.upper() for word in command[:2]]
    if words[0] == b"COMMAND":
        return ([],)
    if words == [b"SCRIPT", b"KILL"]:
        return (Failure("NOTBUSY No scripts in execution right now."),)
    return None


def no_permission(command: Command) -> Failure:
    """Returns the error of a user who may not run this command, worded as in upstash/ratelimit-js issue 18."""
    shown = command[0].decode(errors="replace").lower()
    return Failure(f"NOPERM this user has no permissions to run the '{shown}' command or its subcommand")


def _has_block_option(command: Command) -> bool:
    """Looks for BLOCK among the options, which end at STREAMS; a group or consumer may be called `block`."""
    options = command[4 if command[0].upper() == b"XREADGROUP" else 1 :]
    for word in options:
        if word.upper() == b"STREAMS":
            return False
        if word.upper() == b"BLOCK":
            return True
    return False


def _is_about_keyspace_events(command: Command) -> bool:
    return (
        len(command) > 2
        and command[1].upper() in (b"GET", b"SET")
        and all(name.lower() == b"notify-keyspace-events" for name in command[2::2])
        and (command[1].upper() == b"SET" or len(command) == 3)
    )


def _name_of(entry: Reply) -> bytes:
    name = entry[0] if isinstance(entry, list) else None
    if not isinstance(name, bytes):
        raise TypeError(f"COMMAND answered {entry!r}")
    return name.upper()


def _is_flagged_readonly(entry: Reply) -> bool:
    flags = entry[2] if isinstance(entry, list) else None
    return isinstance(flags, list) and b"readonly" in flags
