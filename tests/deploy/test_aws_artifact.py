"""The content of the zip for AWS Lambda, and what it must never contain."""

import importlib.util
import marshal
import os
import re
import subprocess
import zipfile
from pathlib import Path
from types import CodeType

import pytest

from local import artifact
from tests.deploy import aws_tools
from tests.deploy.aws_project import CANARY, PLANTED

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

MAX_UNPACKED = 250 * 2**20  # bytes (AWS Lambda, "Quotas": deployment package, unzipped)
PYC_HEADER = 16  # bytes
UNCHECKED = 0b01  # flag (PEP 552): the pyc has a hash of its source that is never checked
NEEDS_MORE = (
    "shared.store.memory",
    "shared.media.",
    "shared.mail.smtp",
    "shared.telemetry.spans",
)  # need fakeredis, a development package; requirements-media.txt; requirements-mail.txt; requirements-tracing.txt


def entries(package: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(package) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


@pytest.fixture(scope="module")
def content(package: Path) -> dict[str, bytes]:
    return entries(package)


def pinned(file: Path) -> set[str]:
    names = re.findall(r"^([A-Za-z0-9._-]+)==", file.read_text(), re.M)
    return {name.lower().replace("_", "-") for name in names}


def test_it_has_all_modules_and_scripts_and_no_other_file_of_the_project(
    content: dict[str, bytes], project: Path
) -> None:
    ours = {name for name in content if name.startswith(("functions/", "shared/")) and "__pycache__" not in name}
    planted = {*PLANTED}
    wanted = {
        path.relative_to(project).as_posix()
        for package in ("functions", "shared")
        for path in (project / package).rglob("*")
        if path.suffix in (".py", ".lua", ".toml")
    }
    assert ours == wanted - planted
    assert "shared/jobqueue/scripts/claim.lua" in ours and "functions/submit.py" in ours


def test_it_has_no_planted_secret(content: dict[str, bytes], project: Path) -> None:
    assert all((project / name).read_text().count(CANARY) for name in PLANTED)
    assert [name for name, data in content.items() if CANARY.encode() in data] == []
    hidden = [name for name in content if any(part.startswith(".") for part in Path(name).parts)]
    assert hidden == []


def test_it_has_the_pinned_packages_and_no_others(content: dict[str, bytes], project: Path) -> None:
    found = {name.split("-")[0] for name in content if name.split("/")[0].endswith(".dist-info")}
    assert {name.lower().replace("_", "-") for name in found} == pinned(project / "requirements.txt")
    folders = {name.split("/")[0] for name in content}
    assert not folders & {"bin", "tests", "local", "bench", "build", "pip", "setuptools", "fakeredis", "rich", "av"}
    assert sum(map(len, content.values())) < MAX_UNPACKED


def test_every_module_has_bytecode_that_is_never_compared_with_its_source(content: dict[str, bytes]) -> None:
    modules = [name for name in content if name.endswith(".py")]
    for name in modules:
        folder, _, file = name.rpartition("/")
        cached = content[f"{folder}/__pycache__/{file[:-3]}.cpython-312.pyc".lstrip("/")]
        assert int.from_bytes(cached[4:8], "little") == UNCHECKED, name
    assert len(modules) > 400
    if importlib.util.MAGIC_NUMBER == cached[:4]:
        code = marshal.loads(cached[PYC_HEADER:])  # noqa: S302 (our own build)
        assert isinstance(code, CodeType) and code.co_filename == f"/var/task/{name}"


def test_the_same_sources_make_the_same_bytes(package: Path, project: Path) -> None:
    before = package.read_bytes()
    for path in (project / "shared").rglob("*.py"):
        os.utime(path, (0, 0))
    assert artifact.build(root=project).read_bytes() == before


def test_every_module_is_imported_without_anything_else_installed(task: Path) -> None:
    modules = {
        ".".join(path.relative_to(task).with_suffix("").parts).removesuffix(".__init__")
        for path in (task / "shared").rglob("*.py")
    }
    imported = sorted(name for name in modules if not name.startswith(NEEDS_MORE))
    code = f"import importlib; [importlib.import_module(name) for name in {imported}]"
    environment = {"PATH": os.defpath, "PYTHONPATH": str(task), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [aws_tools.lambda_python(), "-c", code], cwd=task, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_the_arm64_package_has_arm64_wheels(project: Path) -> None:
    content = entries(artifact.build("arm64", root=project, media=True, mail=True))
    libraries = {name: data for name, data in content.items() if name.endswith(".so") or ".so." in name}
    aarch64 = (0xB7).to_bytes(2, "little")  # e_machine of the ELF header
    assert {name for name, data in libraries.items() if data[18:20] != aarch64} == set()
    assert "aiosmtplib/smtp.py" in content
    assert any(name.startswith("pydantic_core/") for name in libraries)
    assert any(name.startswith("av/") for name in libraries) and any(name.startswith("PIL/") for name in libraries)
    assert sum(map(len, content.values())) < MAX_UNPACKED
