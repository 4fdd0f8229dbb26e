"""Which globals a Lua 5.1 program reads and writes, by what the real compiler makes of it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

HEADER = b"\x1bLua\x51\x00\x01\x04\x08\x04\x08\x00"  # Lua 5.1 on 64 bits, little endian
GETGLOBAL, SETGLOBAL = 5, 7
NIL, BOOLEAN, NUMBER, STRING = 0, 1, 3, 4


@dataclass
class Globals:
    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)


def globals_of(program: str) -> Globals:
    """Compiles the program. Raises LuaSyntaxError if it is none."""
    from lupa import lua51

    runtime = lua51.LuaRuntime(encoding=None)
    dump = runtime.eval(b"function(text) return string.dump(assert(loadstring(text))) end")(program.encode())
    assert dump.startswith(HEADER)
    found = Globals()
    _Reader(dump[len(HEADER) :]).function(found)
    return found


class _Reader:
    """Reads one dumped function after the other; lundump.c of Lua 5.1 has the format."""

    def __init__(self, dump: bytes) -> None:
        self._rest = memoryview(dump)

    def function(self, found: Globals) -> None:
        self._text()
        self._skip(4 + 4 + 4)  # two line numbers; upvalues, parameters, varargs, stack
        code = [self._int() & 0xFFFFFFFF for _ in range(self._int())]
        constants = list(self._constants())
        for instruction in code:
            operation, number = instruction & 0x3F, instruction >> 14
            if operation in (GETGLOBAL, SETGLOBAL):
                (found.read if operation == GETGLOBAL else found.written).add(constants[number])
        for _ in range(self._int()):
            self.function(found)
        self._skip(4 * self._int())  # the lines of the instructions
        for _ in range(self._int()):
            self._text()
            self._skip(4 + 4)
        for _ in range(self._int()):
            self._text()

    def _constants(self) -> Iterator[str]:
        """Each constant, a placeholder for those that are no text."""
        for _ in range(self._int()):
            kind = self._skip(1)[0]
            if kind == STRING:
                yield self._text()
            else:
                self._skip({NIL: 0, BOOLEAN: 1, NUMBER: 8}[kind])
                yield ""

    def _text(self) -> str:
        (size,) = struct.unpack("<Q", self._skip(8))
        return bytes(self._skip(size)).rstrip(b"\0").decode()

    def _int(self) -> int:
        (number,) = struct.unpack("<i", self._skip(4))
        return int(number)

    def _skip(self, size: int) -> memoryview:
        skipped, self._rest = self._rest[:size], self._rest[size:]
        return skipped
