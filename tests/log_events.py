"""The events of the log, as the code names them."""

import ast
from collections import defaultdict

from tests.project import ROOT


def events() -> dict[str, set[str]]:
    """The name of each event, or its beginning up to a ``_``, with the methods of the log that write it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for folder in ("shared", "functions"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and node.args:
                    name, method = _name_of(node.args[0]), _method_of(node.func)
                    if name and method:
                        found[name].add(method)
    return found


def _method_of(function: ast.expr) -> str:
    text = ast.unparse(function)
    if text == "Caution":  # the log warns of it at a start
        return "warning"
    return text.removeprefix("log.") if text.startswith("log.") else ""


def _name_of(argument: ast.expr) -> str:
    if isinstance(argument, ast.JoinedStr):
        argument = argument.values[0]
    return str(argument.value).split(" ")[0] if isinstance(argument, ast.Constant) else ""
