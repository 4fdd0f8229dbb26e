"""How a deliberate bug is made: an anchor comment names a line, and the edit replaces it.

``-- mutant: fence`` in Lua or ``# mutant: fence`` in Python names the line that it ends. On a line by itself it names
the next line. So the code may be rewritten, and a bug stays on its line.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

ANCHOR = re.compile(r"[ \t]*(?:--|#) mutant: (?P<name>[a-z0-9_' ]+)$")


class EditDoesNotApply(Exception):
    """The anchor, or the part of its line, is not found exactly once; the mutant has to follow the code."""


@dataclass(frozen=True)
class Edit:
    """Replaces the line of an anchor, or the ``part`` that this line holds once; ``after`` may have several lines."""

    file: str
    anchor: str
    after: str
    part: str = ""

    def applied_to(self, source: str) -> str:
        """The source with the edit made; raises EditDoesNotApply."""
        lines = source.split("\n")
        numbers = [number for name, number in anchors(source) if name == self.anchor]
        if len(numbers) != 1:
            raise EditDoesNotApply(f"{self.file} has the anchor {self.anchor!r} {len(numbers)} times, not once")
        lines[numbers[0]] = self._edited(ANCHOR.sub("", lines[numbers[0]]))
        return "\n".join(lines)

    def _edited(self, line: str) -> str:
        if not self.part:
            return textwrap.indent(self.after, line[: len(line) - len(line.lstrip())])
        found = line.count(self.part)
        if found != 1:
            raise EditDoesNotApply(
                f"{self.file}: the line of {self.anchor!r} has {self.part!r} {found} times, not once"
            )
        return line.replace(self.part, self.after)


def script_edit(name: str, anchor: str, after: str, part: str = "") -> Edit:
    """An edit of a verb or a library of the queue's scripts."""
    return Edit(f"shared/jobqueue/scripts/{name}.lua", anchor, after, part)


def anchors(source: str) -> Iterator[tuple[str, int]]:
    """The anchors of a source, each with the index of the line that it names."""
    for number, line in enumerate(source.split("\n")):
        found = ANCHOR.search(line)
        if found:
            yield found["name"], number if found.start() else number + 1
