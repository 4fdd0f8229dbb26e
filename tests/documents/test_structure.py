"""The shape of the project: allowed imports, allowed connections, and the length of modules."""

import ast
import re
import statistics
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.project import ROOT

PACKAGES = ("functions", "shared", "local", "bench")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ALLOWED = {
    "functions": {"functions", "shared"},
    "shared": {"shared"},
    "local": {"local", "shared"},
    "bench": {"bench", "functions", "shared", "local", "tests"},
}
OURS = {"functions", "shared", "local", "bench", "tests", "sluice", "web"}


@cache
def imports(path: Path) -> set[str]:
    """The modules that a file imports anywhere in it, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from shared import runtime` names a module as well as its package.
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_go_from_functions_to_shared_and_never_back(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    ours = {module.split(".")[0] for module in imports(path)} & OURS
    assert ours <= ALLOWED[package]


def test_rooms_of_shared_form_no_cycle() -> None:
    """A room is a package of shared/, or a module directly in it. graphlib raises CycleError and names the cycle."""
    graph: dict[str, set[str]] = {}
    for path in (ROOT / "shared").rglob("*.py"):
        room = path.relative_to(ROOT / "shared").parts[0].removesuffix(".py")
        used = {module.split(".")[1] for module in imports(path) if module.startswith("shared.")}
        graph.setdefault(room, set()).update(used - {room})
    assert set(TopologicalSorter(graph).static_order()) >= {"config", "jobqueue", "store"}


def test_no_module_imports_a_test() -> None:
    """Test modules share code through plain modules, so that each test can be read, moved and split alone."""
    everything = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    tests = re.compile(r"(.*\.)?test_\w+$")
    assert [name(path) for path in everything if any(tests.match(module) for module in imports(path))] == []


def users_of(*modules: str) -> set[str]:
    found = set()
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] in ("functions", "shared"):
            if {module.split(".")[0] for module in imports(path)} & set(modules):
                found.add(name(path))
    return found


def test_only_the_store_client_talks_to_redis() -> None:
    of_rest = {f"shared/store/{module}.py" for module in ("rest", "client", "scripts")}
    assert users_of("upstash_redis", "redis", "fakeredis") == of_rest | {"shared/store/memory.py"}


def test_only_the_store_and_providers_open_connections() -> None:
    # URLs from callers or answers are called through egress.py. hooks/address.py and proxies.py only parse with httpx.
    assert users_of("httpx") == {
        "shared/store/rest.py", "shared/store/client.py", "shared/providers/calls.py", "shared/egress.py",
        "shared/hooks/address.py", "shared/proxies.py", "shared/mail/resend.py",
        "shared/store/connection.py", "shared/tls.py",  # its headers, and its reading of the certificates
    }  # fmt: skip
    assert users_of("aiosmtplib", "smtplib") == {"shared/mail/smtp.py"}
    assert users_of("urllib.request", "requests", "aiohttp") == set()
    # They resolve, read why a connection failed, and end one at a deadline; none opens any.
    users = {"shared/egress.py", "shared/connection.py", "shared/storage/role.py", "shared/store/wire.py"}
    assert users_of("socket") == users


def test_keys_are_named_in_one_place() -> None:
    """Outside keys.py no module builds a key of the queue."""
    for path in (ROOT / "shared").rglob("*.py"):
        if path.name != "keys.py":
            assert not re.search(r'prefix\}:|":j:|":u:', path.read_text()), name(path)


def test_modules_are_short() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in MODULES if path.name != "__init__.py"}
    assert statistics.median(lengths.values()) <= 130
    assert {path: length for path, length in lengths.items() if length > 350} == {}
    tests = {name(path): len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert {path: length for path, length in tests.items() if length > 400} == {}


def test_no_module_shadows_a_package() -> None:
    taken = {"queue", "http", "redis", "replicate", "requests", "logging", "json", "secrets", "time", "select"}
    taken |= {"utils", "helpers", "common", "manager", "data", "info"}
    # jobqueue/queue.py is shared.jobqueue.queue and is imported by that name only.
    found = {name(path) for path in MODULES if path.stem in taken}
    assert found <= {"shared/jobqueue/queue.py"}


def test_functions_are_thin() -> None:
    for path in (ROOT / "functions").glob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 20, f"{name(path)}:{node.name}"


def test_work_is_never_left_for_after_the_answer() -> None:
    """Lambda runs background tasks before answering and freezes the rest; Vercel runs them after. So: none."""
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] in ("functions", "shared"):
            assert "BackgroundTask" not in path.read_text(), name(path)


# Where a public signature or a public class's attribute may be Any, and why.
UNTYPED = {
    "shared/aws.py:without_stage": "an event of API Gateway, which Mangum reads",
    "shared/egress.py:GuardedClient.build_request": "passes on what httpx's own method takes",
    "shared/hooks/delivery.py:Client.stream": "what httpx's own method answers",
    "shared/alerts/receivers.py:Client.stream": "what httpx's own method answers",
    "shared/storage/source.py:Client.stream": "what httpx's own method answers",
    "shared/jobqueue/kinds.py:Kind.fits": "asks values of every type whether they are of the kind",
    "shared/jobqueue/kinds.py:Kind.write": "the values of one kind only, which fits() has let pass",
    "shared/jobqueue/answers.py:reply_to": "a script's answer, which this gives a type",
    "shared/jobs/batches.py:BatchJob.input": "pydantic would look at each value; read_model has done so",
    "shared/jobs/request.py:SubmitRequest.input": "pydantic would look at each value; read_model has done so",
    "shared/startup.py:from_platform": "keywords for pydantic-settings, whose constructor takes many others",
    "shared/store/__init__.py:Store.execute": "Redis answers a command with anything; its caller knows with what",
    "shared/jobqueue/numbering.py:NumberedStore.execute": "as Store.execute",
    "shared/store/memory.py:MemoryStore.execute": "as Store.execute",
    "shared/usage/counting.py:CountedStore.execute": "as Store.execute",
    "shared/store/rest.py:RestStore.execute": "as Store.execute",
    "shared/store/scripts.py:Scripts.send": "as Store.execute",
    "shared/store/client.py:HttpClient.post": "what httpx's own method takes and answers",
    "shared/store/client.py:Checked.post": "what httpx's own method takes and answers",
    "shared/store/wire.py:Wire.post": "what httpx's own method takes",
    "shared/store/connection.py:Answer.json": "what httpx's own method answers",
    "shared/operations.py:Operation.answers": "a TypedDict or a union of them, for which typing has no type",
}


def test_what_crosses_rooms_has_a_type() -> None:
    """No Any in a public signature or attribute: JSON that may be anything is Json, records and documents are types."""
    found = set()
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] in ("functions", "shared"):
            found |= {f"{name(path)}:{public}" for public in _untyped(ast.parse(path.read_text()).body)}
    assert found == set(UNTYPED)


def _untyped(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """The public functions, methods and attributes whose annotations hold Any."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _untyped(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            is_public = not node.name.startswith("_") or node.name == "__init__"
            taken = [argument.annotation for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]
            if is_public and any(_holds_any(annotation) for annotation in (*taken, node.returns)):
                yield prefix + node.name
        elif isinstance(node, ast.AnnAssign) and prefix and _holds_any(node.annotation):
            yield prefix + ast.unparse(node.target)


def _holds_any(annotation: ast.expr | None) -> bool:
    return annotation is not None and re.search(r"\bAny\b", ast.unparse(annotation)) is not None
