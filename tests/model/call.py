"""One call of a script, its arguments by the names that the script's header gives them."""

from dataclasses import dataclass
from typing import Any

from shared.jobqueue.script import VERBS, script

VERB_OF = {script(verb).text: verb for verb in VERBS}


def hash_of(flat: list[str]) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


@dataclass(frozen=True)
class Call:
    """``rest`` holds the arguments of the header's last name, if it takes any number of them."""

    verb: str
    keys: dict[str, str]
    arguments: dict[str, str]
    rest: list[str]

    @classmethod
    def of(cls, command: tuple[str, ...]) -> "Call":
        verb, count = VERB_OF[command[1]], int(command[2])
        keys, argv, called = list(command[3 : 3 + count]), list(command[3 + count :]), script(verb)
        names = [argument.name for argument in called.arguments]
        # The last name may take none or many.
        arguments = dict(zip(names, argv, strict=False))
        return cls(verb, dict(zip(called.keys, keys, strict=True)), arguments, argv[len(names) - 1 :])

    def __getitem__(self, name: str) -> str:
        return self.arguments[name]

    def number(self, name: str) -> int:
        return int(self.arguments[name])

    @property
    def user(self) -> str:
        """The user of the set that this call names."""
        return self.keys["user"].partition(":u:")[2]

    def __str__(self) -> str:
        return f"{self.verb} {self.arguments}"
