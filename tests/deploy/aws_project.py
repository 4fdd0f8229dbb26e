"""A copy of the project with planted secrets, and what a deployment takes from it."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from tests.deploy import aws_tools
from tests.project import ROOT

CANARY = "canary-6f2a90c4-must-never-be-packed"
# Where a developer's machine may have a secret, or leftovers of a test or a tool.
PLANTED = (
    ".env", ".env.local", ".env.production", ".sluice/local.env", ".sluice/storage/result.json", "build/left.txt",
    "build/sluice-x86_64/functions/old.py", "tests/secret.py", "local/secret.py", "bench/secret.json",
    "functions/.env", "functions/.env.py", "functions/notes.txt", "functions/__pycache__/old.py", "shared/.env.local",
    "shared/store/.hidden/token.py", "shared/storage/result.mp4", ".serverless/state.json",
    ".aws/credentials", ".netrc",
)  # fmt: skip
API_KEY = "a-key-of-the-app-93b1f7d0"
PROCESSOR = "a-token-of-the-processor-93b1f7d0"
PUBLIC_URL = "https://queue.acme-studio.net"
PACK_SECONDS = 120


def copy_project(target: Path) -> Path:
    """Copies the files that are deployed or read by a deployment, and plants the canary where no file may be packed."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("functions", "shared"):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    optional = (f"requirements-{name}.txt" for name in ("media", "mail", "jwt", "sentry", "tracing"))
    for name in ("requirements.txt", *optional, "serverless.yml", "serverless-one.yml"):
        shutil.copyfile(ROOT / name, target / name)
    for name in PLANTED:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(f"# {CANARY}\nSECRET={CANARY}\n")
    return target


def settings(server: RunningServer, simulator: RunningSimulator) -> dict[str, str]:
    """Returns a deployment's variables, with the store and the provider of this machine."""
    return {
        "UPSTASH_REDIS_REST_URL": server.url,
        "UPSTASH_REDIS_REST_TOKEN": server.token,
        "API_KEYS": f"app:{API_KEY}",
        "SIGNING_SECRET": "a-signing-secret-93b1f7d0",
        "QUEUE_PROCESSOR_TOKEN": PROCESSOR,
        "REPLICATE_API_TOKEN": simulator.token,
        "REPLICATE_WEBHOOK_SECRET": simulator.webhook_secret,
        "PUBLIC_BASE_URL": PUBLIC_URL,
    }


def beyond(simulator: RunningSimulator) -> dict[str, str]:
    """Returns variables that serverless.yml does not set: the simulator's address, and earlier checks."""
    return {"REPLICATE_BASE_URL": simulator.url, "FIRST_CHECK_AFTER": "1", "TICK_SECOND_PASS": "0"}


@dataclass(frozen=True)
class Template:
    """The CloudFormation template that a deployment would send."""

    resources: dict[str, Any]
    conditions: dict[str, Any]

    def of_type(self, kind: str) -> dict[str, Any]:
        """Returns the properties of all resources of a type, by logical id."""
        return {name: made["Properties"] for name, made in self.resources.items() if made["Type"] == kind}

    @property
    def functions(self) -> dict[str, Any]:
        """The functions, by their names in serverless.yml."""
        found = self.of_type("AWS::Lambda::Function")
        return {_uncapitalized(name.removesuffix("LambdaFunction")): made for name, made in found.items()}

    @property
    def routes(self) -> dict[tuple[str, str], str]:
        """The function of each method and path."""
        return {
            (method, path): _uncapitalized(made["Target"]["Fn::Join"][1][1]["Ref"].removeprefix("HttpApiIntegration"))
            for made in self.of_type("AWS::ApiGatewayV2::Route").values()
            for method, _, path in [made["RouteKey"].partition(" ")]
        }


def pack(project: Path, variables: Mapping[str, str], *arguments: str) -> Template:
    """Runs `serverless package` in a copy of the project."""
    command = [str(aws_tools.node_modules() / ".bin" / "serverless"), "package", *arguments]
    ran = subprocess.run(
        command, cwd=project, env=tool_environment(variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=PACK_SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "warning" not in ran.stdout.lower(), ran.stdout
    written = json.loads((project / ".serverless" / "cloudformation-template-update-stack.json").read_text())
    return Template(written["Resources"], written.get("Conditions", {}))


def tool_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment for a Node.js tool: no credentials, no telemetry, no settings except ``variables``."""
    others = {k: v for k, v in aws_tools.environment().items() if not k.startswith(("AWS_", "SLS_", "SERVERLESS_"))}
    switches = {"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off", "CI": "1", "HOME": os.environ["HOME"]}
    return {**others, **switches, **variables}


def _uncapitalized(name: str) -> str:
    return name[:1].lower() + name[1:]
