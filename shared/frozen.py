"""Frozen dataclasses that take a quarter of the time to make.

Python writes and compiles six methods for each frozen dataclass; for all of Sluice's that was a tenth of a cold start.
Here it writes ``__init__`` alone, and all classes share the others. To mypy they are what ``dataclasses.dataclass``
makes: it finds a write to a field, which Python itself would only find when it runs.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    from operator import attrgetter

    def dataclass(*, frozen):
        """Returns the decorator of a frozen dataclass. Equality, hash and text are those of Python's."""
        if not frozen:
            raise TypeError("a dataclass that changes is one of dataclasses.dataclass")
        return _made

    def _made(cls):
        made = dataclasses.dataclass(repr=False, eq=False)(cls)
        fields = dataclasses.fields(made)
        compared = [field.name for field in fields if field.compare]
        made._value = attrgetter(*compared) if compared else _nothing
        made._shown = [field.name for field in fields if field.repr]
        made.__eq__, made.__hash__, made.__repr__ = _is_equal, _hash, _text
        return made

    def _nothing(_):
        return ()

    def _is_equal(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.__class__._value(self) == self.__class__._value(other)

    def _hash(self):
        return hash(self.__class__._value(self))

    def _text(self):
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._shown)
        return f"{self.__class__.__qualname__}({shown})"
